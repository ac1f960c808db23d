"""Reduces an image processor of `transformers` to plain constants that give the same pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from PIL import Image

from compress.data.images.transform import ImagePreprocessor, Transform

_PROBES = ((37, 53), (61, 43), (300, 517), (640, 411))
_TOLERANCE = 1e-4
_CROPPED_BELOW = 384  # ConvNeXT's processor crops only below this size


def reduce_processor(processor: Any) -> ImagePreprocessor:
    """The preprocessor for a model's image processor.

    A processor is code with many switches, which can be read in several ways. Each reading is
    compared with the processor itself on random images of several sizes. Only a reading that gives
    the same pixels is used: it is faster, and a deployment can repeat it.
    """
    channels: Literal[1, 3] = 1 if len(_values(processor, "image_mean") or (0, 0, 0)) == 1 else 3
    random = np.random.default_rng(0)
    probes = [random.integers(0, 256, (*size, channels), np.uint8) for size in _PROBES]
    slow = ImagePreprocessor(processor=processor, channels=channels)
    answers = [slow([probe])["pixel_values"].numpy() for probe in probes]
    for transform in _readings(processor, channels):
        ours = [transform([probe]).numpy() for probe in probes]
        if all(
            mine.shape == theirs.shape and np.allclose(mine, theirs, atol=_TOLERANCE)
            for mine, theirs in zip(ours, answers, strict=True)
        ):
            return ImagePreprocessor(transform, processor=processor)
    return slow


def _readings(processor: Any, channels: Literal[1, 3]) -> Iterator[Transform]:
    normalize = bool(getattr(processor, "do_normalize", False))
    rescale = float(processor.rescale_factor) if getattr(processor, "do_rescale", False) else 1.0
    resample = Image.Resampling(getattr(processor, "resample", None) or 2).name.lower()
    for size, edge in _geometries(processor):
        yield Transform(
            size=size,
            resize_shortest_edge=edge,
            resample=resample,
            channels=channels,
            rescale=rescale,
            mean=_values(processor, "image_mean") if normalize else None,
            std=_values(processor, "image_std") if normalize else None,
        )


def _geometries(processor: Any) -> Iterator[tuple[tuple[int, int] | None, int | None]]:
    """Pairs of (final size, shortest edge to resize to before the crop)."""
    if not getattr(processor, "do_resize", False):
        yield None, None
        return
    size = _mapping(processor, "size")
    crop = _mapping(processor, "crop_size")
    edge = size.get("shortest_edge")
    if size.get("height") and size.get("width"):
        yield (size["height"], size["width"]), None
    if edge and getattr(processor, "do_center_crop", False) and crop.get("height"):
        yield (crop["height"], crop["width"]), edge
    if edge:
        share = getattr(processor, "crop_pct", None)
        if share and edge < _CROPPED_BELOW:
            yield (edge, edge), int(edge / share)
        yield (edge, edge), None


def _mapping(processor: Any, name: str) -> dict[str, int]:
    value = getattr(processor, name, None)
    if value is None:
        return {}
    found = value if isinstance(value, dict) else vars(value)
    return {key: int(number) for key, number in found.items() if number is not None}


def _values(processor: Any, name: str) -> tuple[float, ...] | None:
    value = getattr(processor, name, None)
    if value is None:
        return None
    return (float(value),) if isinstance(value, int | float) else tuple(float(v) for v in value)
