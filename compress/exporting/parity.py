"""Holds an ONNX file's answers against those of the module that it was made from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from compress.core.batch import ATTENTION_MASK, model_inputs
from compress.errors import ParityError, StageError
from compress.measurement.session import run, session

if TYPE_CHECKING:
    from torch import nn

    from compress.core.context import Batch, Target, Task

TOLERANCE = 1e-4
_COSINE = "mean cosine similarity"
_MEASURES: dict[Target, str] = {
    "class": "top-1 agreement",
    "class-set": "agreement",
    "token-class": "top-1 agreement",
    "next-token": "top-1 agreement",
    "none": _COSINE,
}

Answers = Callable[["Batch"], np.ndarray]


@dataclass(frozen=True)
class Parity:
    """How near two models' answers are to each other, on the same samples.

    Attributes
    ----------
    max_error : largest absolute difference of a single output.
    mean_error : mean absolute difference.
    scale : largest absolute output of the model that is compared with.
    agreement : part of the answers (samples, or tokens) whose largest score is the same one; of
        sets of classes, the part of (sample, class) pairs on which both decide the same; of hidden
        states, the mean cosine similarity.
    samples : how many samples were compared.
    measure : what `agreement` is, in words.
    """

    max_error: float
    mean_error: float
    scale: float
    agreement: float
    samples: int
    measure: str = "top-1 agreement"

    def __str__(self) -> str:
        return f"max error {self.max_error:.1e}, mean {self.mean_error:.1e}, {self.top1()}"

    def top1(self) -> str:
        """The agreement in words."""
        value = f"{self.agreement:.4f}" if self.measure == _COSINE else f"{self.agreement:.1%}"
        return f"{self.measure} {value} on {self.samples} samples"

    def require_finite(self, onnx: Path) -> Parity:
        """Itself, where every answer was a number.

        Raises
        ------
        StageError : one wasn't.
        """
        if not np.isfinite(self.max_error):
            raise StageError(f"{onnx.name} answers real samples with values that aren't finite.")
        return self


def module_answers(module: nn.Module, *, task: Task) -> Answers:
    """The module as a function from a batch to its scores; the module is left as it was."""
    quiet = copy.deepcopy(module).eval() if module.training else module

    def answer(batch: Batch) -> np.ndarray:
        inputs = model_inputs(batch)
        with torch.no_grad():
            scores: np.ndarray = task.logits(quiet, inputs).float().numpy()
        return scores

    return answer


def onnx_answers(onnx: Path, *, threads: int = 1) -> Answers:
    """The ONNX file as a function from a batch to its first output."""
    opened = session(onnx, threads=threads)

    def answer(batch: Batch) -> np.ndarray:
        return next(iter(run(opened, batch).values()))

    return answer


def compare(
    wanted: Answers, got: Answers, *, batches: Iterable[Batch], target: Target = "class"
) -> Parity:
    """Compare two models on the same batches; of texts, where they aren't padding.

    Parameters
    ----------
    target : what a sample's label is.

    Raises
    ------
    StageError : there are no batches, or the answers' shapes differ.
    """
    largest = scale = total = 0.0
    count = answers = samples = 0
    same = 0.0
    for batch in batches:
        left, right = wanted(batch), got(batch)
        if left.shape != right.shape:
            raise StageError(
                f"the two models answer in different shapes: {left.shape} and {right.shape}."
            )
        samples += left.shape[0]
        if left.ndim == 3 and ATTENTION_MASK in batch:
            counted = np.asarray(batch[ATTENTION_MASK]) != 0
            left, right = left[counted], right[counted]
        error = np.abs(left.astype(np.float64) - right)
        # np.maximum hands NaN on, which Python's max may drop.
        largest = float(np.maximum(largest, error.max()))
        scale = max(scale, float(np.abs(left).max()))
        total += float(error.sum())
        count += error.size
        alike = _alike(left, right, target)
        same += float(alike.sum())
        answers += alike.size
    if not samples:
        raise StageError("no samples to compare the two models on.")
    return Parity(largest, total / count, scale, same / answers, samples, _MEASURES[target])


def _alike(left: np.ndarray, right: np.ndarray, target: Target) -> np.ndarray:
    """How much each answer of two models is the same one, in [0, 1] (a cosine in [-1, 1])."""
    if target == "class-set":
        return np.asarray((left > 0) == (right > 0))
    if target != "none":
        return np.asarray(left.argmax(-1) == right.argmax(-1))
    lengths = np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1)
    return np.asarray((left * right).sum(-1) / np.maximum(lengths, np.finfo(np.float32).tiny))


def check_parity(
    module: nn.Module,
    onnx: Path,
    *,
    task: Task,
    batches: Iterable[Batch],
    tolerance: float = TOLERANCE,
) -> Parity:
    """Compare an ONNX file with its module on real batches.

    Parameters
    ----------
    batches : with at least two different shapes where the axes are dynamic, to mean something.
    tolerance : allowed `max_error`, as a part of the largest absolute output where that is over 1.

    Raises
    ------
    ParityError : the largest error is over the tolerance, or an answer isn't a number.
    """
    found = compare(
        module_answers(module, task=task),
        onnx_answers(onnx),
        batches=batches,
        target=task.target,
    )
    allowed = tolerance * max(1.0, found.scale)
    if not found.max_error <= allowed:
        raise ParityError(
            f"{onnx.name} doesn't answer as {type(module).__name__} does: {found}. "
            f"Allowed: a max error of {allowed:.1e}."
        )
    return found
