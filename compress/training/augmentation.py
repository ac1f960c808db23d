"""Random crops and flips of a batch of images, drawn for each sample."""

import torch
from torch import Tensor

from compress.errors import StageError
from compress.training.options import Augment

IMAGES = "pixel_values"


def augment_images(images: Tensor, *, augment: Augment, generator: torch.Generator) -> Tensor:
    """Shift and mirror each image by its own draw.

    Shifting repeats border pixels, which is the same as padding with them and cropping at random;
    unlike padding with zeros it needs no knowledge of how the pixels were normalised.

    Parameters
    ----------
    images : (N, C, H, W).
    generator : on the CPU; the same state draws the same changes on every device.

    Returns
    -------
    A new tensor (N, C, H, W); the one given is left as it was.

    Raises
    ------
    StageError : the images don't have four dimensions.
    """
    if images.ndim != 4:
        raise StageError(
            f"'augment' needs images of shape (N, C, H, W). Got {tuple(images.shape)}."
        )
    count, _, height, width = images.shape
    rows = torch.arange(height).expand(count, height)
    columns = torch.arange(width).expand(count, width)
    if augment.crop:
        shifts = torch.randint(-augment.crop, augment.crop + 1, (2, count, 1), generator=generator)
        rows = (rows + shifts[0]).clamp(0, height - 1)
        columns = (columns + shifts[1]).clamp(0, width - 1)
    if augment.flip:
        mirrored = torch.rand((count, 1), generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    flat = (rows[:, :, None] * width + columns[:, None, :]).reshape(count, 1, height * width)
    flat = flat.to(images.device).expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, flat).reshape(images.shape)
