"""Makes a model's `pixel_values` from images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from compress.data.fingerprint import digest
from compress.data.images.orientation import upright
from compress.errors import DataError

Pixels = npt.NDArray[np.uint8]
Images = Sequence[Any] | npt.NDArray[Any]
RESCALE = 1 / 255
GREY_MODES = ("L", "1")
COLOUR_MODES = ("RGB", "RGBA", "P", "LA", "CMYK")
"""Pillow's modes that are converted to RGB (or grey) by default; other colour modes are refused."""


@dataclass(frozen=True)
class Transform:
    """Plain constants from which a deployment can repeat the preprocessing.

    Attributes
    ----------
    size : final (H, W); None: the image's own.
    resize_shortest_edge : resize the shorter side to this, then crop the centre to `size`; None:
        resize to `size` directly, whatever the image's shape.
    resample : Pillow's name of the filter, in lower case.
    channels : 1 or 3; None: as many as the image has.
    rescale : factor of the values in 0..255.
    mean, std : mean and standard deviation of each channel after rescaling; None: 0 and 1.
    """

    size: tuple[int, int] | None = None
    resize_shortest_edge: int | None = None
    resample: str = "bilinear"
    channels: int | None = None
    rescale: float = RESCALE
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __call__(self, images: Images) -> Tensor:
        """Transform images (PIL, or uint8 (H, W) or (H, W, C)) to float32 (N, C, H, W)."""
        pixels = self._sized(images)
        values = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.float32)
        values = values.contiguous() * self.rescale
        if self.mean is not None:
            values -= torch.tensor(self.mean).view(1, -1, 1, 1)
        if self.std is not None:
            values /= torch.tensor(self.std).view(1, -1, 1, 1)
        return values

    def _sized(self, images: Images) -> Pixels:
        """All images as one array (N, H, W, C) of the final size."""
        batch = _whole_batch(images)
        resizes = self.resize_shortest_edge is not None
        if batch is not None and not resizes and self.size in (None, batch.shape[1:3]):
            if self.channels in (None, batch.shape[-1]):
                return batch
            if self.channels == 3 and batch.shape[-1] == 1:
                return np.repeat(batch, 3, axis=-1)
        arrays = [self._resized(as_array(image, self.channels)) for image in images]
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            raise DataError(
                f"images of one batch differ in (height, width, channels): {sorted(shapes)[:3]}. "
                "Say what they shall become with 'image: {size: [height, width], channels: 3}'."
            )
        return np.stack(arrays)

    def _resized(self, array: Pixels) -> Pixels:
        if self.size is None:
            return array
        if self.resize_shortest_edge is None:
            return resize(array, self.size, self.resample)
        height, width = array.shape[:2]
        short, long = sorted((height, width))
        edge = self.resize_shortest_edge
        other = int(edge * long / short)
        array = resize(array, (edge, other) if height <= width else (other, edge), self.resample)
        top, left = ((array.shape[axis] - self.size[axis]) // 2 for axis in (0, 1))
        return array[top : top + self.size[0], left : left + self.size[1]]


class ImagePreprocessor:
    """Makes `pixel_values` from images.

    Parameters
    ----------
    transform : the constants of the preprocessing; None if only the processor can do it.
    processor : a model's image processor from `transformers`, whose files are saved too.
    channels : channels of the images that a processor without a transform gets: 1 grey, 3 RGB.
    """

    modality = "image"
    input_names = ("pixel_values",)
    tokenizer = None
    max_length = None
    original_ids = None
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        transform: Transform | None = None,
        *,
        processor: Any = None,
        channels: Literal[1, 3] = 3,
    ) -> None:
        if transform is None and processor is None:
            transform = Transform()
        self.transform = transform
        self.processor = processor
        self._channels = channels

    @property
    def fingerprint(self) -> str:
        """See `compress.core.artifact.Preprocessor`."""
        return digest(self._constants())

    def __call__(self, images: Images) -> dict[str, Tensor]:
        """Preprocess a batch.

        Parameters
        ----------
        images : PIL images, uint8 arrays (H, W) or (H, W, C), or one array of all images.

        Returns
        -------
        pixel_values : float32 (N, C, H, W).

        Raises
        ------
        DataError : a value isn't an image, or sizes differ and nothing resizes them.
        """
        if self.transform is not None:
            return {"pixel_values": self.transform(images)}
        arrays = [as_array(image, self._channels) for image in images]
        made = self.processor(arrays, return_tensors="np", input_data_format="channels_last")
        return {"pixel_values": torch.from_numpy(np.asarray(made["pixel_values"], np.float32))}

    def save(self, directory: Path) -> None:
        """Write preprocessing.json, and the processor's own files if there is a processor."""
        directory.mkdir(parents=True, exist_ok=True)
        if self.processor is not None:
            self.processor.save_pretrained(str(directory))
        text = json.dumps(self._constants(), indent=2) + "\n"
        (directory / "preprocessing.json").write_text(text, encoding="utf-8")

    def _constants(self) -> dict[str, Any]:
        # `exact`: whether the plain constants suffice; otherwise the processor is needed.
        # `orientation`, `modes` and `transparency` tell what `as_array` does, for every model.
        constants = {
            "modality": self.modality,
            "input_names": list(self.input_names),
            "exact": self.transform is not None,
            "orientation": "exif",
            "modes": [*GREY_MODES, *COLOUR_MODES],
            "transparency": "dropped",
        }
        if self.transform is not None:
            return constants | asdict(self.transform)
        return constants | {"processor": self.processor.to_dict()}


def as_array(image: Any, channels: int | None) -> Pixels:
    """One image as uint8 (H, W, C), upright and without transparency; C is 1 (grey) or 3 (RGB).

    Parameters
    ----------
    channels : C; None: as many as the image has.

    Raises
    ------
    DataError : the value is neither a PIL image of 8-bit pixels nor a uint8 array.
    """
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3):
        array: Pixels = image if image.ndim == 3 else image[..., None]
        if not array.size:
            raise DataError(f"an image has no pixels: an array of shape {image.shape}.")
        if array.shape[2] in (1, 3) and channels in (None, array.shape[2]):
            return array
        if array.shape[2] in (1, 3, 4):
            image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    if not isinstance(image, Image.Image) or image.mode not in GREY_MODES + COLOUR_MODES:
        given = f"an image of mode {image.mode}" if isinstance(image, Image.Image) else _said(image)
        raise DataError(
            "images must be PIL images of 8-bit pixels, or uint8 arrays (height, width) "
            f"or (height, width, 1, 3 or 4). Got {given}.{_conversion(image)}"
        )
    if not all(image.size):
        raise DataError(f"an image has no pixels: {image.size[0]} wide, {image.size[1]} high.")
    grey = image.mode in GREY_MODES if channels is None else channels == 1
    array = np.asarray(upright(image).convert("L" if grey else "RGB"))
    return array[..., None] if grey else array


def resize(array: Pixels, size: tuple[int, int], resample: str) -> Pixels:
    """Resize uint8 (H, W, C) to `size` (H, W) with Pillow's filter of that name."""
    if array.shape[:2] == size:
        return array
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    resized = np.asarray(image.resize(size[::-1], Image.Resampling[resample.upper()]))
    return resized[..., None] if resized.ndim == 2 else resized


def _whole_batch(images: Images) -> Pixels | None:
    """Images that are one array already, as (N, H, W, C); None if they aren't."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim not in (3, 4):
        return None
    return images if images.ndim == 4 else images[..., None]


def _conversion(image: Any) -> str:
    """Advice on how to convert an image of more than 8 bits; empty if there is none."""
    if not isinstance(image, Image.Image) or not image.mode.startswith(("I", "F")):
        return ""
    if image.mode.startswith("I;16"):
        return (
            " Images of 16 bits become 8-bit ones by "
            "Image.fromarray((np.asarray(image) // 256).astype(np.uint8))."
        )
    return (
        " Scale the values to 0..255 yourself, as only you know their range, and use "
        "Image.fromarray(values.astype(np.uint8))."
    )


def _said(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    return "nothing" if value is None else type(value).__name__
