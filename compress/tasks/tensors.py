"""Tasks on plain tensors: classes or numbers from arrays by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeVar

from compress.errors import InputError, expected
from compress.tasks.class_metrics import (
    auroc,
    average_precision,
    matthews_corrcoef,
    of_scores,
)
from compress.tasks.contract import Output, Task, TaskMetric
from compress.tasks.metrics import (
    accuracy,
    agreement,
    closeness,
    mean_iou,
    regression_metrics,
)
from compress.tasks.outputs import Role

_OF_SCORES = {
    "matthews_corrcoef": matthews_corrcoef,
    "auroc": auroc,
    "average_precision": average_precision,
}
Axes = Sequence[int] | Mapping[str, int]
"""Axes of an input, or axes by their names."""
_Number = TypeVar("_Number", int, float)


class TensorTask(Task):
    """A task on arrays by name, whose outputs are classes, numbers, or both.

    Parameters
    ----------
    outputs : role of each output, "classes" or "values", by its name, in the model's order; None:
        `usual_outputs`.
    varying : axes that may vary besides the first, by the input's name: {signal: [1]}. Axes whose
        sizes are always the same need one name: {ids: {length: 1}, mask: {length: 1}}.
    weights : weight of each output in the loss; 1 by default.
    huber_delta : for outputs of numbers that are to be compared with a teacher's by Huber's loss,
        its delta, by the output's name; others have the squared error. See `Output`.
    class_axis : axis of the classes, by the output's name, where it isn't the last: {logits: 1} for
        (N, C, H, W).
    """

    usual_outputs: ClassVar[Mapping[str, Role]]

    def __init__(
        self,
        outputs: Mapping[str, Role] | None = None,
        varying: Mapping[str, Axes] | None = None,
        weights: Mapping[str, float] | None = None,
        huber_delta: Mapping[str, float] | None = None,
        class_axis: Mapping[str, int] | None = None,
    ) -> None:
        if outputs is not None and not isinstance(outputs, Mapping):
            raise InputError(expected("outputs", "a role for each output's name", outputs))
        roles, given = dict(outputs or self.usual_outputs), _by_output("weights", weights)
        deltas, axes = _by_output("huber_delta", huber_delta), _by_output("class_axis", class_axis)
        for key, names in (("weights", given), ("huber_delta", deltas), ("class_axis", axes)):
            for name in names:
                if name not in roles:
                    raise InputError(expected(key, f"by output, of {', '.join(roles)}", name))
        self.outputs = tuple(
            Output(name, role, given.get(name, 1.0), deltas.get(name), axes.get(name, -1))
            for name, role in roles.items()
        )
        self._varying = {name: _named(name, axes) for name, axes in (varying or {}).items()}

    def table_of_metrics(self) -> Sequence[TaskMetric]:
        """See `Task`. With several outputs, the metrics' names begin with the output's."""
        several = len(self.outputs) > 1
        found: list[TaskMetric] = []
        for output in self.outputs:
            prefix = f"{output.name}_" if several else ""
            axis = output.class_axis
            if output.role == "classes":
                found.append(accuracy(output.name, prefix=prefix, class_axis=axis))
                found.append(mean_iou(output.name, prefix=prefix, class_axis=axis))
                found += [
                    of_scores(name, output.name, function, prefix=prefix, class_axis=axis)
                    for name, function in _OF_SCORES.items()
                ]
            else:
                found += regression_metrics(output.name, prefix=prefix)
        for output in self.outputs:
            prefix = f"{output.name}_" if several else ""
            if output.role == "classes":
                axis = output.class_axis
                found.append(agreement(output.name, prefix=prefix, class_axis=axis))
            else:
                found.append(closeness(output.name, prefix=prefix))
        return found

    def varying_axes(self, name: str, value: object) -> Mapping[int, str]:
        """See `Task`."""
        return self._varying.get(name, {})


def _by_output(key: str, given: Mapping[str, _Number] | None) -> dict[str, _Number]:
    if given is not None and not isinstance(given, Mapping):
        raise InputError(expected(key, "a number for each output's name", given))
    return dict(given or {})


def _named(name: str, axes: Axes) -> dict[int, str]:
    if isinstance(axes, Mapping):
        return {axis: said for said, axis in axes.items()}
    return {axis: f"{name}_axis_{axis}" for axis in axes}


class TensorClassification(TensorTask):
    """Classes from arrays."""

    name = "tensor-classification"
    usual_outputs: ClassVar[Mapping[str, Role]] = {"logits": "classes"}


class TensorRegression(TensorTask):
    """Numbers from arrays."""

    name = "tensor-regression"
    usual_outputs: ClassVar[Mapping[str, Role]] = {"values": "values"}
