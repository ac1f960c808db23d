"""Masks tokens of texts, the same ones each time."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from compress.core.batch import IGNORED, LABELS
from compress.tasks.texts.batches import of_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.artifact import Preprocessor


def masked_batch(
    texts: Sequence[str],
    preprocessor: Preprocessor | None,
    *,
    fraction: float,
    seed: int,
    fixed_length: bool,
) -> dict[str, Tensor]:
    """Return the batch of `FillMask.collate`."""
    makes = of_texts(preprocessor)
    tokenizer = makes.tokenizer
    special = np.array(tokenizer.all_special_ids, np.int64)
    encodings = makes.encode(texts)
    labels = []
    for encoding in encodings:
        ids = np.array(encoding["input_ids"], np.int64)
        chosen = chosen_tokens(ids, special, fraction=fraction, seed=seed)
        labels.append(np.where(chosen, ids, IGNORED).tolist())
        encoding["input_ids"] = np.where(chosen, tokenizer.mask_token_id, ids).tolist()
    batch = makes.pad(encodings, fixed_length=fixed_length)
    length = makes.length_of(encodings, fixed=fixed_length)
    batch[LABELS] = makes.pad_rows(labels, IGNORED, length=length)
    return batch


def chosen_tokens(
    ids: NDArray[np.int64], special: NDArray[np.int64], *, fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Return which of a text's tokens are masked: (S,), at least one if any may be.

    Parameters
    ----------
    ids : (S,) the text's tokens; they and the seed decide.
    special : tokens that are never masked.
    """
    draws = np.random.default_rng([seed, zlib.crc32(ids.tobytes())]).random(len(ids))
    draws[np.isin(ids, special)] = np.inf
    least = np.isfinite(draws) & (draws == draws.min(initial=np.inf))
    chosen: NDArray[np.bool_] = (draws < fraction) | least
    return chosen
