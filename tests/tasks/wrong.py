"""Tasks, losses and metrics that break the contract, each in one way."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from compress import Input, Output, Task, TaskMetric
from compress.tasks.metrics import regression_metrics


class Numbers(Task):
    """A right one, which the others change in one place."""

    name = "numbers"
    inputs = (Input("features"),)
    outputs: tuple[Output, ...] = (Output("values", "values"),)

    def table_of_metrics(self) -> Sequence[TaskMetric]:
        return regression_metrics("values")


class WrongShape(Numbers):
    def collate(self, samples: Any, **options: Any) -> dict[str, Tensor]:
        batch = super().collate(samples, **options)
        return {**batch, "features": batch["features"][:1]}


class Vector(Numbers):
    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        return (outputs["values"][:, 0] - batch["labels"]).square()


class Failing(Numbers):
    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        raise ValueError("no such thing")


class NotANumber(Numbers):
    def table_of_metrics(self) -> Sequence[TaskMetric]:
        return (TaskMetric("strange", of_all=lambda outputs, labels: float("nan")),)


class NoRole(Numbers):
    outputs = (Output("values", "verdicts"),)  # type: ignore[arg-type]


class TwoOutputs(Numbers):
    outputs = (Output("values", "values"), Output("more", "values"))


class OtherInput(Numbers):
    inputs = (Input("features"), Input("age"))


class NoTask:
    """Isn't a subclass of Task."""


def squared(
    student: Mapping[str, Tensor],
    teacher: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
    power: float = 2.0,
) -> Tensor:
    """A loss of one's own."""
    return (student["values"] - teacher["values"]).abs().pow(power).mean()


def not_scalar(
    student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], batch: Mapping[str, Tensor]
) -> Tensor:
    return student["values"]


def worst(outputs: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> float:
    """A metric of one's own: the largest error."""
    return float(np.abs(outputs["values"][:, 0] - labels["labels"]).max())
