"""Turns images upright, as their EXIF orientation says."""

from __future__ import annotations

from PIL import ExifTags, Image, ImageOps

from compress.core.foreign.boundary import reading
from compress.errors import DataError


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says; the image itself if it has none.

    `datasets` turns the images that it decodes and removes the tag, so that none is turned twice.

    Raises
    ------
    DataError : its EXIF data or its pixels can't be read.
    """
    with reading("the EXIF data of an image", error=DataError):
        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return image
        return ImageOps.exif_transpose(image)
