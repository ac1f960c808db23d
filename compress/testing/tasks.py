"""The conformance suite for tasks: it checks the contract of a third party's task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.core.batch import labels_in, model_inputs
from compress.errors import CompressError
from compress.exporting.parity.compare import check_parity
from compress.exporting.to_onnx import export_module
from compress.measurement.metrics.registry import metric_named
from compress.measurement.metrics.tally import Answer
from compress.tasks.checked import own_comparison, own_loss

if TYPE_CHECKING:
    from compress.core.artifact import Preprocessor
    from compress.tasks.contract import Task

    Outputs = Mapping[str, Tensor]

_FEW = 4
_CLOSE = 1e-4


def check_task(
    task: Task,
    module: nn.Module,
    samples: Sequence[Mapping[str, Any]],
    *,
    directory: Path,
    preprocessor: Preprocessor | None = None,
) -> None:
    """Check that a task keeps the contract; return only if it keeps all of it.

    Parameters
    ----------
    task : the task.
    module : a small model for it, whose outputs depend on its parameters.
    samples : four samples or more, with labels.
    directory : a folder for the ONNX file that is made.
    preprocessor : for tasks on texts.

    Raises
    ------
    AssertionError : the task breaks a clause; the message is a sentence on it.
    """
    _require(len(samples) >= _FEW, f"four samples are needed to check it; got {len(samples)}")
    module = module.eval()
    try:
        windows = list(samples)
        if preprocessor is not None:
            windows = task.all_windows(samples, preprocessor=preprocessor)
        batch = _check_collate(task, windows, preprocessor)
        outputs = task.named_outputs(module, model_inputs(batch))
        twice = task.collate([*windows, *windows], preprocessor=preprocessor)
        _check_loss(task, module, batch, outputs, twice=twice)
        _check_compare(task, module, batch, outputs)
        _check_metrics(task, batch, outputs)
        _check_answers(task, outputs)
        _check_export(task, module, batch, directory)
    except CompressError as error:
        raise AssertionError(f"the task breaks its contract: {error}") from error


def _check_collate(
    task: Task, samples: Sequence[Mapping[str, Any]], preprocessor: Preprocessor | None
) -> dict[str, Tensor]:
    batch = task.collate(samples, preprocessor=preprocessor)
    again = task.collate(samples, preprocessor=preprocessor)
    _require(list(batch) == list(again), "'collate' gives other names the second time")
    for name, value in batch.items():
        _require(isinstance(value, Tensor), f"'collate' gives {name!r} as no tensor")
        _require(len(value) == len(samples), f"'collate' gives {len(value)} rows of {name!r}")
        same = torch.equal(torch.nan_to_num(value), torch.nan_to_num(again[name]))
        _require(same, f"'collate' gives other values of {name!r} the second time")
    first, second = (
        task.collate_for_training(samples, preprocessor=preprocessor) for _ in range(2)
    )
    for name, value in batch.items():
        same = name in first and first[name].shape == value.shape
        _require(same, f"'collate_for_training' gives no {name!r} of the shape that 'collate' does")
        same = torch.equal(torch.nan_to_num(first[name]), torch.nan_to_num(second[name]))
        _require(same, f"'collate_for_training' gives other values of {name!r} the second time")
    inputs = model_inputs(batch)
    for one in task.inputs:
        _require(one.name in inputs, f"'collate' gives no input {one.name!r}")
        kind = str(inputs[one.name].dtype).removeprefix("torch.")
        _require(kind == one.dtype, f"input {one.name!r} is {kind}, and is declared {one.dtype}")
    _require(bool(labels_in(batch)), "'collate' gives no labels of labelled samples")
    return batch


def _check_loss(
    task: Task,
    module: nn.Module,
    batch: Mapping[str, Tensor],
    outputs: Outputs,
    *,
    twice: Mapping[str, Tensor],
) -> None:
    loss = own_loss(task, outputs, batch)
    found = float(loss.detach())
    _require(bool(loss.isfinite()), f"the loss is {found}")
    _require(_reaches(loss, module), "the loss has no gradient for any parameter of the model")
    doubled = {name: torch.cat([value, value]) for name, value in outputs.items()}
    other = float(own_loss(task, doubled, twice).detach())
    averaged = abs(other - found) <= _CLOSE * max(1.0, abs(found))
    _require(averaged, "the loss isn't averaged over samples: twice the samples change it")


def _check_compare(
    task: Task, module: nn.Module, batch: Mapping[str, Tensor], outputs: Outputs
) -> None:
    teacher = {name: value.detach() for name, value in outputs.items()}
    same = own_comparison(task, outputs, teacher, batch, temperature=2.0)
    random = torch.Generator().manual_seed(0)
    moved = {
        name: value.detach() + torch.randn(value.shape, generator=random)
        for name, value in outputs.items()
    }
    far = own_comparison(task, moved, teacher, batch, temperature=2.0)
    _require(bool(far.isfinite()), f"'compare' gives {float(far)}")
    _require(
        float(same.detach()) < float(far),
        "'compare' says that other outputs are as close to the teacher's as its own are",
    )
    shifted = {name: value * 0.5 for name, value in outputs.items()}
    loss = own_comparison(task, shifted, teacher, batch, temperature=2.0)
    _require(_reaches(loss, module), "'compare' has no gradient for any parameter of the model")


def _check_metrics(task: Task, batch: Mapping[str, Tensor], outputs: Outputs) -> None:
    arrays = {name: value.numpy() for name, value in batch.items()}
    found = {name: value.detach().numpy() for name, value in outputs.items()}
    answer = Answer(next(iter(found.values())), arrays, outputs=found)
    answer = Answer(answer.scores, arrays, reference=answer, outputs=found)
    _require(bool(task.metrics), "it has no metric")
    for name in task.metrics:
        scores = []
        for parts in ([answer], _halves(answer)):
            tally = metric_named(name, task=task).tally(())
            for part in parts:
                tally.add(part)
            scores.append(tally.score(seed=0).value)
        _require(bool(np.isfinite(scores).all()), f"metric {name!r} is {scores[0]}")
        whole = abs(scores[0] - scores[1]) <= _CLOSE * max(1.0, abs(scores[0]))
        _require(whole, f"metric {name!r} depends on how samples are cut into batches")


def _halves(answer: Answer) -> list[Answer]:
    half = len(answer.scores) // 2
    made = []
    for kept in (slice(0, half), slice(half, None)):
        outputs = {name: value[kept] for name, value in answer.outputs.items()}
        batch = {name: value[kept] for name, value in answer.batch.items()}
        part = Answer(answer.scores[kept], batch, outputs=outputs)
        made.append(Answer(part.scores, batch, reference=part, outputs=outputs))
    return made


def _check_answers(task: Task, outputs: Outputs) -> None:
    found = {name: value.detach().numpy() for name, value in outputs.items()}
    answers = task.answer(found)
    count = len(next(iter(found.values())))
    _require(len(answers) == count, f"it gives {len(answers)} answers to {count} samples")
    try:
        json.dumps(answers, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"the task breaks its contract: its answers aren't plain JSON ({error})."
        ) from error


def _check_export(
    task: Task, module: nn.Module, batch: Mapping[str, Tensor], directory: Path
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    path = export_module(module, task=task, example=batch, path=directory / "task.onnx", labels=())
    few = {name: value[:1] for name, value in batch.items()}
    check_parity(module, path, task=task, batches=[few, batch])


def _reaches(loss: Tensor, module: nn.Module) -> bool:
    """Return whether a loss has a gradient for a parameter of the module that isn't all zeros."""
    if not loss.requires_grad:
        return False
    parameters = [each for each in module.parameters() if each.requires_grad]
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return any(each is not None and bool(each.abs().sum() > 0) for each in found)


def _require(kept: bool, broken: str) -> None:
    if not kept:
        raise AssertionError(f"the task breaks its contract: {broken}.")
