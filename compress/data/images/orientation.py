"""Images as they are looked at, whichever way round they are stored."""

from __future__ import annotations

from PIL import ExifTags, Image, ImageOps

from compress.core.foreign.boundary import reading
from compress.errors import DataError


def upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation says that it is looked at; itself where that says nothing.

    `datasets` turns what it decodes and takes the tag away, so that nothing is turned twice.

    Raises
    ------
    DataError : its EXIF data or its pixels can't be read.
    """
    with reading("the EXIF data of an image", error=DataError):
        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return image
        return ImageOps.exif_transpose(image)
