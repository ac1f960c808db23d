"""Fills a store with a live teacher's answers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import numpy as np
import torch

from compress.core.artifact import Preprocessor
from compress.core.batch import SAMPLE_IDS
from compress.core.context import Batch, Context
from compress.core.foreign.endings import afterwards
from compress.distillation.answers import Teacher
from compress.distillation.cache.arrays import (
    Kept,
    arrays_for,
    named_tensors,
    real_tokens,
    to_rows,
)
from compress.distillation.cache.store import Store
from compress.errors import StageError
from compress.training.acceleration import placed_batch
from compress.training.augmentation.augment import Augmenter

COMMIT_BYTES = 32 * 2**20
"""Bytes of rows that are held in memory before they are written."""
COMMIT_SECONDS = 10.0
"""Seconds of work that a crash may lose."""
_ORDER_SEED = 0
"""Seed of the shuffle. A shuffled loader puts texts of similar lengths into one batch."""


def fill(
    store: Store,
    live: Teacher,
    *,
    kept: Kept,
    context: Context,
    preprocessor: Preprocessor,
    augmenter: Augmenter,
    batch_size: int,
) -> None:
    """Compute and store the missing answers, in parts that survive a crash.

    Parameters
    ----------
    store : a store of variants * train samples; empty, partly filled, or whole.
    live : the teacher, on the context's device.
    augmenter : gives the number of variants.

    Raises
    ------
    StageError : the answers can't be kept in this form, or the disk is too small.
    """
    if store.done.all():
        return
    variants = augmenter.variants or 1
    loader = context.data.loader(
        "train",
        preprocessor,
        batch_size=batch_size,
        shuffle_seed=_ORDER_SEED,
        sample_ids=True,
    )
    last = time.monotonic()
    with (
        context.progress.track("teacher's answers", len(loader) * variants) as advance,
        afterwards(store.commit, what="keeping the teacher's answers so far"),
    ):
        for batch in loader:
            for number in range(variants):
                asked = augmenter.variant(batch, number)
                if not store.done[asked[SAMPLE_IDS].numpy()].all():
                    _ask(store, live, _placed(asked, context), kept=kept)
                advance()
            now = time.monotonic()
            if store.pending_bytes > COMMIT_BYTES or now - last > COMMIT_SECONDS:
                store.commit()
                _require_space(store)
                last = now
    missing = int((~store.done).sum())
    if missing:
        raise StageError(f"the data gave {missing} samples fewer than it said it has.")


def some_batches(
    context: Context, preprocessor: Preprocessor, augmenter: Augmenter, *, samples: int
) -> Iterator[Batch]:
    """Yield a batch of the train split's first samples for each variant, on the device."""
    loader = context.data.loader(
        "train", preprocessor, batch_size=samples, limit=samples, sample_ids=True
    )
    for batch in loader:
        for number in range(augmenter.variants or 1):
            yield _placed(augmenter.variant(batch, number), context)


def _placed(batch: Batch, context: Context) -> Batch:
    return placed_batch(batch, device=torch.device(context.device), channels_last=False)


def _ask(store: Store, live: Teacher, batch: Batch, *, kept: Kept) -> None:
    tensors = named_tensors(live(batch), kept)
    mask = real_tokens(batch)
    if not store.arrays:
        store.begin(arrays_for(tensors, mask, kept=kept))
    ids = batch[SAMPLE_IDS].cpu().numpy()
    tokens = (
        np.zeros(len(ids), np.int64) if mask is None else mask.reshape(len(mask), -1).sum(axis=1)
    )
    rows = {array.name: to_rows(array, tensors[array.name], mask) for array in store.arrays}
    store.append(ids, tokens, rows)


def _require_space(store: Store) -> None:
    """Fail early if the answers to all samples don't fit on the disk."""
    done = int(store.done.sum())
    needed = store.bytes / done * (len(store.done) - done)
    free = shutil.disk_usage(store.directory).free
    if needed > free:
        raise StageError(
            f"the teacher's answers need about {needed / 1e9:.1f} GB more; the disk has "
            f"{free / 1e9:.1f} GB. Use 'top_k', or 'dtype: fp16', or fewer features or variants."
        )
