"""A teacher that answers from disk."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.core.batch import ATTENTION_MASK, SAMPLE_IDS
from compress.core.context import Batch
from compress.distillation.answers import Answers, TopK
from compress.distillation.cache.arrays import Kept, to_answers
from compress.distillation.cache.store import Store
from compress.errors import StageError


class CachedTeacher:
    """A `compress.distillation.answers.Teacher` that answers batches by their `sample_ids`.

    Parameters
    ----------
    store : holds the answers to all samples.
    kept : the parts of the answers that the store holds.
    notes : sentences for the report.
    as_they_are : whether the answers are to the samples as they are, whatever inputs are made of
        them: by another tokenizer, or with tokens that are masked.
    """

    def __init__(
        self,
        store: Store,
        *,
        kept: Kept,
        notes: tuple[str, ...] = (),
        as_they_are: bool = False,
    ) -> None:
        self._store, self._kept, self._as_they_are = store, kept, as_they_are
        self.notes = notes

    def __call__(self, batch: Batch) -> Answers:
        """See `compress.distillation.answers.Teacher`.

        Raises
        ------
        StageError : the batch has no sample ids, or its samples aren't in the store.
        """
        if SAMPLE_IDS not in batch:
            raise StageError(f"a cached teacher needs '{SAMPLE_IDS}' in a batch.")
        ids = batch[SAMPLE_IDS].cpu().numpy()
        done = self._store.done
        if self._as_they_are:  # ids of variants begin after those of the samples
            ids = ids % len(done)
        if ids.min() < 0 or ids.max() >= len(done) or not done[ids].all():
            raise StageError(
                f"the teacher's answers of {len(done)} samples are kept. Got others among the ids "
                f"{ids.min()} to {ids.max()}."
            )
        if ATTENTION_MASK in batch and not self._as_they_are:
            length = batch[ATTENTION_MASK].bool().flatten(1).sum(1).cpu().numpy()
            if (length != self._store.tokens(ids)).any():
                raise StageError("samples have other tokens than when the teacher answered them.")
        return to_answers(self._store.gather(ids), kept=self._kept, batch=batch)


def largest_error(cached: Answers, live: Answers, batch: Batch) -> dict[str, tuple[float, float]]:
    """Return the largest absolute difference and the live answers' largest value, by name.

    If only the largest logits are kept, only these are compared. Padding doesn't count.
    """
    found: dict[str, tuple[float, float]] = {}
    if cached.logits is not None and isinstance(live.logits, Tensor):
        top, whole = cached.logits, live.logits.float()
        if isinstance(top, TopK):
            found["logits"] = _difference(top.logits, whole.gather(-1, top.indices), batch)
        else:
            found["logits"] = _difference(top, whole, batch)
    for path, values in cached.features.items():
        found[path] = _difference(values, live.features[path].float(), batch)
    return found


def _difference(cached: Tensor, live: Tensor, batch: Batch) -> tuple[float, float]:
    mask = batch.get(ATTENTION_MASK)
    if mask is not None and live.dim() == 3 and live.shape[:2] == mask.shape:
        cached, live = cached[mask.bool()], live[mask.bool()]
    difference = (cached - live).abs().max()
    return float(torch.nan_to_num(difference, nan=torch.inf)), float(live.abs().max())
