"""Tasks of one's own choose the epoch by their first metric, as the built-in tasks do."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compress
from compress import Output, Task, TaskMetric
from compress.core.batch import SAMPLE
from compress.errors import StageError
from compress.measurement.metrics.own import OwnFigure, own_tally
from compress.measurement.metrics.tally import Answer
from compress.report.kept.stage_files import read_insides
from compress.report.pictures.courses import training as pictures
from compress.tasks.registry import find_task
from compress.training.distributed.processes import Processes
from compress.training.loop import fit
from compress.training.options import TrainingOptions
from compress.training.validation.own import OwnScore
from tests.tasks import arrays


def size(outputs: Any, labels: Any) -> Any:
    return abs(outputs["values"]).reshape(len(outputs["values"]), -1).mean(1)


class Sized(Task):
    """Numbers whose metric looks at their size alone."""

    name = "sized"
    outputs = (Output("values", "values"),)

    def __init__(self, higher: bool = False, needs_labels: bool = True) -> None:
        self.higher, self.needs_labels = higher, needs_labels

    def table_of_metrics(self) -> tuple[TaskMetric, ...]:
        return (TaskMetric("size", self.higher, self.needs_labels, rows=size),)


def scored(task: Task, *batches: tuple[Any, Any]) -> Any:
    """The score of batches of answers and labels."""
    own = OwnScore(task)
    for answer, labels in batches:
        batch = {"x": torch.as_tensor(answer), "labels": torch.as_tensor(labels)}
        own.add(own.results(nn.Identity(), batch), batch)
    return own.score(Processes())


def test_the_first_metric_scores_in_its_direction() -> None:
    task = find_task("tensor-regression")
    score = scored(task, ([[1.0], [2.0]], [1.0, 2.0]), ([[3.0], [5.0]], [3.0, 4.0]))
    assert (score.metric, score.higher_is_better) == ("r2", True)
    # squared errors 1; the labels' squared deviations 5
    assert score.value == pytest.approx(1 - 1 / 5)
    assert score.loss == pytest.approx(1 / 4)
    assert not scored(Sized(), ([[1.0]], [1.0])).higher_is_better


def test_a_metric_without_a_value_is_the_worst() -> None:
    class Correlated(Sized):
        def table_of_metrics(self) -> tuple[TaskMetric, ...]:
            found = {one.name: one for one in find_task("tensor-regression").table_of_metrics()}
            return (found["pearson"],)

    equal = scored(Correlated(), ([[1.0], [1.0]], [1.0, 2.0]))
    assert "pearson" not in equal.figures
    wrong = scored(Correlated(), ([[9.0], [1.0]], [1.0, 2.0]))
    assert wrong.value == pytest.approx(-1)
    assert wrong.beats(equal)
    assert not equal.beats(wrong)
    assert str(equal) == "loss 0.5000"


def test_without_a_metric_that_reads_labels_the_loss_scores() -> None:
    score = scored(Sized(needs_labels=False), ([[1.0], [2.0]], [1.0, 4.0]))
    assert (score.metric, score.value) == ("loss", 2.0)


def test_a_loss_that_is_not_finite_is_told_as_such() -> None:
    with pytest.raises(StageError, match="the validation loss became"):
        scored(Sized(), ([[float("inf")], [2.0]], [1.0, 4.0]))


def test_several_processes_make_one_figure() -> None:
    """Windows of one sample may have been seen by two of them."""
    rows = np.array([[5.0, 1.0], [2.0, 0.0], [7.0, 0.5]])
    best = TaskMetric(
        "best",
        rows=lambda outputs, _: outputs["rows"],
        joined=lambda windows: windows[windows[:, 0].argmax(), 1:],
    )
    middle = TaskMetric("middle", of_all=lambda outputs, _: float(np.median(outputs["rows"])))
    for metric, value in ((best, 0.75), (middle, 1.5)):
        one, two, whole = OwnFigure(metric), OwnFigure(metric), own_tally(metric)
        for figure, at in ((one, [0]), (two, [1, 2])):
            batch = {SAMPLE: np.array([0, 0, 1])[at], "labels": np.zeros(len(at))}
            answer = Answer(rows[at], batch, outputs={"rows": rows[at]})
            figure.add(answer)
            whole.add(answer)
        assert one.value([*one.parts, *two.parts]) == value == whole.score(seed=0).value


def test_a_metric_of_all_samples_needs_batches_of_one_shape() -> None:
    metric = TaskMetric("mean", of_all=lambda outputs, _: float(outputs["x"].mean()))
    figure, tally = OwnFigure(metric), own_tally(metric)
    for length in (3, 4):
        given = np.zeros((2, length))
        for each in (figure, tally):
            each.add(Answer(given, {"labels": np.zeros(2)}, outputs={"x": given}))
    sentence = r"'mean' needs all samples' 'x' at once .*\(2, 3\) and \(2, 4\)"
    with pytest.raises(StageError, match=sentence):
        figure.value(figure.parts)
    with pytest.raises(StageError, match=sentence):
        tally.score(seed=0)


@pytest.mark.parametrize(("higher", "kept"), [(False, 1), (True, 3)])
def test_the_metric_and_not_the_loss_chooses_the_epoch(
    tmp_path: Path, higher: bool, kept: int
) -> None:
    """Training makes answers larger and the loss smaller, each epoch."""
    made = arrays.table()
    np.savez(tmp_path / "data.npz", features=made["features"], label=made["label"] * 0 + 50)
    artifact, context = compress.load(
        model={"python": "tests.tasks.nets:Table"},
        task="tensor-regression",
        data={"arrays": str(tmp_path / "data.npz")},
    )
    task = Sized(higher)
    fitted = fit(
        artifact.require_module(),
        loss=lambda student, batch: task.loss(task.named_outputs(student, batch), batch),
        artifact=artifact,
        context=replace(context, task=task, directory=tmp_path),
        options=TrainingOptions(epochs=3, batch_size=64, learning_rate=0.01),
        description="train",
    )
    losses = [epoch.validation.loss for epoch in fitted.history]
    assert losses == sorted(losses, reverse=True)
    sizes = [epoch.validation.value for epoch in fitted.history]
    assert sizes == sorted(sizes)
    assert f"kept epoch {kept} of 3: validation size " in fitted.notes[0]
    document = json.loads((tmp_path / "training.json").read_text())
    assert {"metric": "size", "higher_is_better": higher}.items() <= document["epochs"][0][
        "validation"
    ].items()
    assert len(pictures(read_insides(tmp_path)[0]["training"])) == 3
    for epoch in document["epochs"]:
        del epoch["validation"]["figures"]["size"]
    (tmp_path / "training.json").write_text(json.dumps(document))
    assert len(pictures(read_insides(tmp_path)[0]["training"])) == 2
