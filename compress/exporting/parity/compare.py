"""Compares an ONNX file's answers with those of the module that it was made from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from compress.core.batch import ATTENTION_MASK, model_inputs
from compress.errors import ParityError, StageError
from compress.exporting.cache import POSITIONS, positions, takes_positions
from compress.exporting.parity.first_difference import first_difference
from compress.exporting.parity.stepwise import stepwise_answers
from compress.measurement.session import PAST, answer_of, run, session

if TYPE_CHECKING:
    from torch import nn

    from compress.core.context import Batch, Target, Task

TOLERANCE = 1e-4
_COSINE = "mean cosine similarity"
_CLOSE = "numbers within 1 %"
_MEASURES: dict[Target, str] = {
    "class": "top-1 agreement",
    "class-set": "agreement",
    "token-class": "top-1 agreement",
    "next-token": "top-1 agreement",
    "none": _COSINE,
    "own": _CLOSE,
}

Answers = Callable[["Batch"], np.ndarray]


_CACHED = "through the cache"
_MOST_SHAPES = 5
"""Number of shapes that are written out; texts padded to each batch's longest give many."""


class ParityByShape(NamedTuple):
    """Parity on inputs of one shape, such as "3 of 17" (a batch of 3 texts, 17 tokens long)."""

    shape: str
    parity: Parity


@dataclass(frozen=True)
class Parity:
    """The difference between two models' answers to the same samples.

    Attributes
    ----------
    max_error : largest absolute difference of a single output.
    mean_error : mean absolute difference.
    scale : largest absolute output of the model that is compared with.
    agreement : fraction of the answers (samples or tokens) with the same top class. For sets of
        classes it is the fraction of (sample, class) pairs with the same decision; for hidden
        states it is the mean cosine similarity; for the outputs of one's own task the fraction of
        numbers that differ by at most 1 % of the largest.
    samples : number of samples that were compared.
    measure : name of the measure in `agreement`, in words.
    by_shape : the parity for each shape of inputs, in the order of the batches.
    remarks : other findings, such as answers that depend on the batch.
    """

    max_error: float
    mean_error: float
    scale: float
    agreement: float
    samples: int
    measure: str = "top-1 agreement"
    by_shape: tuple[ParityByShape, ...] = ()
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        whole = f"max error {self.max_error:.1e}, mean {self.mean_error:.1e}, {self.top1()}"
        by_shape = f" ({'; '.join(self._by_shape())})" if len(self.by_shape) > 1 else ""
        return "; ".join((whole + by_shape, *self.remarks))

    def _by_shape(self) -> Iterator[str]:
        shown = self.by_shape[:_MOST_SHAPES]
        for shape, one in (*shown, *self.by_shape[_MOST_SHAPES:][-1:]):
            yield f"{shape}: {one.max_error:.1e}, {one.mean_error:.1e}, {one._agreement()}"

    def _agreement(self) -> str:
        return f"{self.agreement:.4f}" if self.measure == _COSINE else f"{self.agreement:.1%}"

    def top1(self) -> str:
        """Return the agreement in words."""
        return f"{self.measure} {self._agreement()} on {self.samples} samples"

    def require_finite(self, onnx: Path) -> Parity:
        """Return itself if every answer is finite.

        Raises
        ------
        StageError : an answer isn't finite.
        """
        if not np.isfinite(self.max_error):
            raise StageError(f"{onnx.name} answers real samples with values that aren't finite.")
        return self


def module_answers(module: nn.Module, *, task: Task) -> Answers:
    """Return the module as a function from a batch to its scores; the module stays as it was."""
    quiet = copy.deepcopy(module).eval() if module.training else module
    placed = task.target == "next-token" and takes_positions(module)

    def answer(batch: Batch) -> np.ndarray:
        inputs = model_inputs(batch)
        if placed and ATTENTION_MASK in inputs:
            inputs.setdefault(POSITIONS, positions(inputs[ATTENTION_MASK]))
        with torch.no_grad():
            scores: np.ndarray = task.logits(quiet, inputs).float().numpy()
        return scores

    return answer


def module_outputs(module: nn.Module, *, task: Task) -> Callable[[Batch], dict[str, np.ndarray]]:
    """Return the module as a function from a batch to its outputs by name."""
    quiet = copy.deepcopy(module).eval() if module.training else module

    def answer(batch: Batch) -> dict[str, np.ndarray]:
        with torch.no_grad():
            found = task.named_outputs(quiet, model_inputs(batch))
        return {name: value.float().numpy() for name, value in found.items()}

    return answer


def onnx_answers(onnx: Path, *, threads: int = 1) -> Answers:
    """Return the ONNX file as a function from a batch to its answer; see `answer_of`."""
    opened = session(onnx, threads=threads)

    def answer(batch: Batch) -> np.ndarray:
        return answer_of(run(opened, batch))

    return answer


def compare(
    wanted: Answers, got: Answers, *, batches: Iterable[Batch], target: Target = "class"
) -> Parity:
    """Compare two models on the same batches; padding of texts doesn't count.

    Parameters
    ----------
    target : the kind of a sample's label.

    Raises
    ------
    StageError : there are no batches, or the answers' shapes differ.
    """
    sums: dict[str, _Errors] = {}
    for batch in batches:
        left, right = wanted(batch), got(batch)
        if left.shape != right.shape:
            raise StageError(
                f"the two models answer in different shapes: {left.shape} and {right.shape}."
            )
        samples = left.shape[0]
        mask = batch.get(ATTENTION_MASK)
        if left.ndim == 3 and mask is not None and left.shape[:2] == mask.shape:
            counted = np.asarray(mask) != 0
            left, right = left[counted], right[counted]
        sums.setdefault(_shape(batch), _Errors()).add(left, right, samples=samples, target=target)
    if not sums:
        raise StageError("no samples to compare the two models on.")
    measure = _MEASURES[target]
    by_shape = tuple(ParityByShape(shape, one.parity(measure)) for shape, one in sums.items())
    return replace(_total(sums.values()).parity(measure), by_shape=by_shape)


class _Errors:
    """Sums of errors over batches."""

    def __init__(self) -> None:
        self.largest = self.scale = self.total = self.same = 0.0
        self.count = self.answers = self.samples = 0

    def add(self, left: np.ndarray, right: np.ndarray, *, samples: int, target: Target) -> None:
        error = np.abs(left.astype(np.float64) - right)
        # np.maximum propagates NaN, which Python's max may drop.
        self.largest = float(np.maximum(self.largest, error.max()))
        self.scale = max(self.scale, float(np.abs(left).max()))
        self.total += float(error.sum())
        self.count += error.size
        alike = _alike(left, right, target)
        self.same += float(alike.sum())
        self.answers += alike.size
        self.samples += samples

    def parity(self, measure: str) -> Parity:
        mean, agreement = self.total / self.count, self.same / self.answers
        return Parity(self.largest, mean, self.scale, agreement, self.samples, measure)


def _total(parts: Iterable[_Errors]) -> _Errors:
    whole = _Errors()
    for part in parts:
        whole.largest = float(np.maximum(whole.largest, part.largest))
        whole.scale = max(whole.scale, part.scale)
        for name in ("total", "same", "count", "answers", "samples"):
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
    return whole


def _shape(batch: Batch) -> str:
    """Return a batch's shape in words, such as "3 of 17" (texts) or "3 of 28x28" (images)."""
    first = next(iter(model_inputs(batch).values()), None)
    if first is None or first.ndim < 2:
        return "all"
    return f"{first.shape[0]} of {'x'.join(str(size) for size in first.shape[1:][-2:])}"


def _alike(left: np.ndarray, right: np.ndarray, target: Target) -> np.ndarray:
    """Return the agreement of each answer of two models, in [0, 1] (a cosine in [-1, 1])."""
    if target == "class-set":
        return np.asarray((left > 0) == (right > 0))
    if target == "own":  # 1 % of the largest
        return np.asarray(np.abs(left - right) <= 0.01 * np.abs(left).max())
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
    batches : real batches. If axes are dynamic, give at least two different shapes.
    tolerance : allowed `max_error`, relative to the largest absolute output if that is over 1.

    Raises
    ------
    ParityError : the largest error is over the tolerance, or an answer isn't a number.
    """
    wanted = module_answers(module, task=task)
    remaining = iter(batches)
    first = next(remaining, None)
    ahead = [] if first is None else [first]
    answers = onnx_answers(onnx)
    found = plain = compare(wanted, answers, batches=chain(ahead, remaining), target=task.target)
    if any(value.name.startswith(PAST) for value in session(onnx, threads=1).get_inputs()):
        stepped = compare(wanted, stepwise_answers(onnx), batches=ahead, target=task.target)
        found = _with_cached(plain, stepped)
    allowed = tolerance * max(1.0, found.scale)
    if not found.max_error <= allowed:
        where: object = f"Only what comes {_CACHED} differs."
        if not plain.max_error <= allowed:
            where = first_difference(module, onnx, task=task, batch=ahead[0])
        raise ParityError(
            f"{onnx.name} doesn't answer as {type(module).__name__} does: {found}. "
            f"Allowed: a max error of {allowed:.1e}. {where}"
        )
    return found


def _with_cached(found: Parity, stepped: Parity) -> Parity:
    """Return the parity together with that of the answers through the cache."""
    return replace(
        found,
        max_error=float(np.maximum(found.max_error, stepped.max_error)),
        by_shape=(*found.by_shape, ParityByShape(_CACHED, stepped)),
    )
