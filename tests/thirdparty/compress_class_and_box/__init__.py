"""A task as a third party would write one: two inputs, two outputs, and a metric of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress import Input, Output, Task, TaskMetric

NEAR = 0.5


class ClassAndBox(Task):
    """What is seen, and where: a class and the four sides of a box.

    Parameters
    ----------
    box_weight : weight of the box in the loss.
    """

    name = "class-and-box"
    inputs = (Input("table"), Input("extra"))
    answers_file = Path(__file__).with_name("answers.txt")

    def __init__(self, box_weight: float = 1.0) -> None:
        self.outputs = (Output("kind", "classes"), Output("box", "values", weight=box_weight))

    def table_of_metrics(self) -> Sequence[TaskMetric]:
        """The fraction of samples whose class is right and whose box is near."""
        return (TaskMetric("found", rows=found),)


def found(
    outputs: Mapping[str, np.ndarray[Any, Any]], labels: Mapping[str, np.ndarray[Any, Any]]
) -> np.ndarray[Any, Any]:
    """Return 1 for each sample that was found, else 0."""
    right = outputs["kind"].argmax(-1) == labels["kind"]
    near = np.abs(outputs["box"] - labels["box"]).max(-1) < NEAR
    return (right & near).astype(np.float64)
