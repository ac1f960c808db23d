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

    Ids = NDArray[np.int64]


_MASKED, _RANDOM = 0.8, 0.1
"""In training, the fractions of chosen tokens that become the mask token, and a random one."""


def masked_batch(
    texts: Sequence[str],
    preprocessor: Preprocessor | None,
    *,
    fraction: float,
    seed: int,
    training: bool,
    fixed_length: bool,
) -> dict[str, Tensor]:
    """Return the batch of `FillMask.collate`, or of its `collate_for_training`."""
    makes = of_texts(preprocessor)
    tokenizer = makes.tokenizer
    special = np.array(tokenizer.all_special_ids, np.int64)
    ordinary = np.delete(np.arange(len(tokenizer)), special)
    encodings = makes.encode(texts)
    labels = []
    for text, encoding in zip(texts, encodings, strict=True):
        ids = np.array(encoding["input_ids"], np.int64)
        # Of the text and not of its ids: a smaller vocabulary masks the same tokens.
        random = np.random.default_rng([seed, zlib.crc32(text.encode())])
        chosen = chosen_tokens(ids, special, fraction=fraction, random=random)
        labels.append(np.where(chosen, ids, IGNORED).tolist())
        masked = np.where(chosen, tokenizer.mask_token_id, ids)
        given = partly_masked(ids, masked, ordinary, random=random) if training else masked
        encoding["input_ids"] = given.tolist()
    batch = makes.pad(encodings, fixed_length=fixed_length)
    length = makes.length_of(encodings, fixed=fixed_length)
    batch[LABELS] = makes.pad_rows(labels, IGNORED, length=length)
    return batch


def chosen_tokens(
    ids: Ids, special: Ids, *, fraction: float, random: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which of a text's tokens are chosen: (S,), at least one if any may be.

    Parameters
    ----------
    ids : (S,) the text's tokens.
    special : tokens that are never chosen.
    """
    draws = random.random(len(ids))
    draws[np.isin(ids, special)] = np.inf
    least = np.isfinite(draws) & (draws == draws.min(initial=np.inf))
    chosen: NDArray[np.bool_] = (draws < fraction) | least
    return chosen


def partly_masked(ids: Ids, masked: Ids, ordinary: Ids, *, random: np.random.Generator) -> Ids:
    """Return masked tokens, some of which are random ones or the true ones instead: (S,).

    Devlin et al., 2019, "BERT": a model learns from all of them that any token may be wrong.

    Parameters
    ----------
    ids, masked : (S,) the text's tokens, and the same with the mask token in some places.
    ordinary : tokens that random ones are drawn from.
    """
    kinds = random.random(len(ids))
    others = ordinary[random.integers(0, len(ordinary), len(ids))]
    instead = np.where(kinds < _MASKED + _RANDOM, others, ids)
    found: Ids = np.where((ids == masked) | (kinds < _MASKED), masked, instead)
    return found
