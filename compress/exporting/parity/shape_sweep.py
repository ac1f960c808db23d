"""Samples in several batch sizes and lengths, on which a file is compared with its module."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from compress.core.batch import ATTENTION_MASK
from compress.data.texts.full_length import filled_up

if TYPE_CHECKING:
    from compress.core.context import Batch, Loader

SMALL = (1, 3)


def shape_sweep(
    padded: Loader, batches: Loader | Iterator[Batch], *, modality: str, other_size: bool = False
) -> Iterator[Batch]:
    """Yield one sample at a quarter of the length, three at half of it, and the other batches.

    If no text has the full length, one is filled up to it, as padding doesn't test positions.

    Parameters
    ----------
    padded : the batches with texts padded to the full length; the first of them is used.
    batches : the same samples, padded to each batch's longest; the first is left out.
    modality : "text" or "image"; for images only the number of samples varies.
    other_size : whether to add two images of another height and width.
    """
    first = next(iter(padded), None)
    if first is None:
        return
    count = len(next(iter(first.values())))
    start = 0
    for size, part in zip(SMALL, (4, 2), strict=True):
        if start + size < count or not start:
            few = {name: values[start : start + size] for name, values in first.items()}
            yield _shorter(few, part=part) if modality == "text" else few
            start += size
    yield {name: values[start if start < count else 0 :] for name, values in first.items()}
    if modality == "text" and not first[ATTENTION_MASK].bool().all(-1).any():
        yield filled_up({name: values[:1] for name, values in first.items()})
    if other_size:
        yield _resized(first)
    yield from islice(batches, 1, None)


def _shorter(batch: Batch, *, part: int) -> Batch:
    """Return texts cut to a part of their length, at the end without padding.

    The last token stays, as models look for the end of a text there.
    """
    import torch

    mask = batch[ATTENTION_MASK]
    length = mask.shape[-1]
    kept = max(2, length // part)
    left = bool((mask[..., -1] > mask[..., 0]).any())
    places = torch.arange(length)[slice(length - kept, None) if left else slice(kept)]
    chosen = places.expand(*mask.shape[:-1], kept).clone()
    if not left:
        last = (mask != 0).long().cumsum(-1).argmax(-1)
        chosen[..., -1] = last.clamp(min=kept - 1)
    return {
        name: values.gather(-1, chosen) if values.shape == mask.shape else values
        for name, values in batch.items()
    }


def _resized(batch: Batch) -> Batch:
    """Return two images with half the height and 1.25 times the width."""
    from torch.nn.functional import interpolate

    name, images = next((name, values) for name, values in batch.items() if values.ndim == 4)
    height, width = images.shape[-2:]
    size = [height + height // 2, width + width // 4]
    return {name: interpolate(images[:2], size=size, mode="bilinear", align_corners=False)}
