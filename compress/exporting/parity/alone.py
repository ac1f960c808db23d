"""Compares each sample's answer in a batch with its answer alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from compress.core.batch import ATTENTION_MASK, is_by_token, model_inputs
from compress.core.foreign.boundary import foreign
from compress.errors import ParityError, StageError
from compress.exporting.parity.compare import TOLERANCE, Answers, Parity, compare

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.context import Batch, Target

MOST = 4
"""Number of samples that are run alone, and together."""
REFUSED = 0.1
"""Tolerance relative to the largest output: a larger change isn't rounding."""


def alone(
    answers: Answers,
    batch: Batch,
    *,
    target: Target,
    name: str,
    tolerance: float = TOLERANCE,
    refuses: bool = True,
) -> tuple[str, ...]:
    """Compare the answers to a few samples in a batch with the answers to each alone; return notes.

    Texts are compared twice: filled up to one length, and padded. A change through padding is only
    noted, however large it is, as some models are designed that way.

    Parameters
    ----------
    answers : a model, as a function from a batch to its scores.
    batch : preprocessed inputs, whose first four samples are taken; texts may be padded.
    target : the kind of a sample's label.
    name : the model's name in messages.
    tolerance : allowed difference, relative to the largest output (or to 1).
    refuses : whether to raise if other samples change an answer; otherwise that is a note too.

    Raises
    ------
    ParityError : a sample has another answer among samples of its length than alone.
    """
    few: Batch = {key: values[:MOST] for key, values in model_inputs(batch).items()}
    if len(next(iter(few.values()))) < 2:
        return ()
    notes = []
    found = _apart(answers, _unpadded(few), target=target, name=name)
    if refuses and found.max_error > REFUSED * found.scale:
        raise ParityError(
            f"{name} answers a sample otherwise beside {found.samples - 1} others than alone: "
            f"{found}. What it is measured with in batches wouldn't hold for one sample. Such is "
            "batch normalization without running statistics (track_running_stats=False)."
        )
    if found.max_error > tolerance * max(1.0, found.scale):
        notes.append(f"answers depend on the batch: {_said(found)}, samples alone and together")
    if ATTENTION_MASK in few and not bool((few[ATTENTION_MASK] != 0).all()):
        notes += _of_padding(answers, few, target=target, name=name, tolerance=tolerance)
    return tuple(notes)


def _of_padding(
    answers: Answers, batch: Batch, *, target: Target, name: str, tolerance: float
) -> list[str]:
    try:
        found = _apart(answers, batch, target=target, name=name)
    except StageError as error:
        return [f"short texts have no answer without padding: {error}"]
    if found.max_error <= tolerance * max(1.0, found.scale):
        return []
    return [f"answers depend on padding: {_said(found)}, texts alone and padded"]


def _apart(answers: Answers, batch: Batch, *, target: Target, name: str) -> Parity:
    """Compare the answers to each sample alone, without padding, with those in the batch."""
    with foreign(name, error=StageError):
        together = answers(batch)
    singles, mask = list(_singles(batch)), batch.get(ATTENTION_MASK)
    rows = iter(
        together[row : row + 1, kept]
        if together.ndim == 3 and (mask is None or together.shape[:2] == mask.shape)
        else together[row : row + 1]
        for row, (_, kept) in enumerate(singles)
    )
    return compare(
        lambda _: next(rows),
        _guarded(answers, name),
        batches=[single for single, _ in singles],
        target=target,
    )


def _guarded(answers: Answers, name: str) -> Callable[[Batch], np.ndarray]:
    def answer(batch: Batch) -> np.ndarray:
        with foreign(f"{name}, given one sample alone,", error=StageError):
            return answers(batch)

    return answer


def _singles(batch: Batch) -> Iterator[tuple[Batch, slice | np.ndarray]]:
    """Yield each sample without its padding, and the positions of the tokens left."""
    mask = batch.get(ATTENTION_MASK)
    for row in range(len(next(iter(batch.values())))):
        kept: slice | np.ndarray = slice(None)
        if mask is not None:
            real = np.asarray(mask[row]) != 0
            kept = np.flatnonzero(real.reshape(-1, real.shape[-1]).any(0))
        yield (
            {
                key: values[row : row + 1][..., kept]
                if mask is not None and is_by_token(values, mask)
                else values[row : row + 1]
                for key, values in batch.items()
            },
            kept,
        )


def _unpadded(batch: Batch) -> Batch:
    """Return texts whose padding is replaced by their second token, so that all have one length.

    The ends stay, as models look for special tokens there.
    """
    mask = batch.get(ATTENTION_MASK)
    if mask is None:
        return batch
    return {key: _filled(x, mask) if is_by_token(x, mask) else x for key, x in batch.items()}


def _filled(values: Tensor, mask: Tensor) -> Tensor:
    import torch

    rows = []
    width = mask.shape[-1]
    for row, real in zip(values.reshape(-1, width), mask.reshape(-1, width) != 0, strict=True):
        own = row[real] if bool(real.any()) else row
        inner = own[min(1, len(own) - 1)].repeat(len(row) - len(own))
        rows.append(torch.cat([own[:1], inner, own[1:]]))
    return torch.stack(rows).reshape(values.shape)


def _said(found: Parity) -> str:
    return f"largest difference {found.max_error:.1e} of {found.scale:.1e}, {found.top1()}"
