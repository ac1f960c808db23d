"""Shifts and mirrors images, each by its own draw."""

import torch
from torch import Tensor

from compress.errors import StageError

IMAGES = "pixel_values"
DRAWS = 3
"""Number of random numbers that the change of one image takes."""


def changed_images(images: Tensor, draws: Tensor, *, crop: int, flip: bool) -> Tensor:
    """Shift and mirror each image.

    Shifting repeats border pixels, which equals padding with them and cropping at random. Unlike
    padding with zeros, it works for any normalisation of the pixels.

    Parameters
    ----------
    images : (N, C, H, W).
    draws : (N, 3) in [0, 1): for the shift down, the shift right, and the mirroring.
    crop : the largest shift, in pixels.
    flip : whether to mirror images with a third draw below 1/2.

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
    if crop:
        shifts = (draws * (2 * crop + 1)).long() - crop
        rows = (rows + shifts[:, :1]).clamp(0, height - 1)
        columns = (columns + shifts[:, 1:2]).clamp(0, width - 1)
    if flip:
        columns = torch.where(draws[:, 2:] < 0.5, columns.flip(1), columns)
    flat = (rows[:, :, None] * width + columns[:, None, :]).reshape(count, 1, height * width)
    flat = flat.to(images.device).expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, flat).reshape(images.shape)
