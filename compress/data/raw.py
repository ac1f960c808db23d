"""Raw samples: as the source has them, before any preprocessing."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import ExifTags, Image

from compress.data.rows import Indices, Rows
from compress.data.sources.huggingface import TableRows
from compress.data.splits import Samples
from compress.errors import DataError

Kind = Literal["text", "pair", "words", "image", "prompt", "tensors", "fields"]
_PROMPT = 200
"""Characters of a text's beginning that a model is to continue."""
_AS_PNG = ("1", "L", "LA", "P", "RGB", "RGBA")


@dataclass(frozen=True)
class RawSamples:
    """A few raw samples.

    Attributes
    ----------
    kind : the kind of the samples.
    values : for each sample a text, a list of two texts, a list of words, an image file's bytes, or
        a text's beginning, or a mapping of fields.
    """

    kind: Kind
    values: tuple[Any, ...]


def raw_samples(samples: Samples, *, limit: int, generates: bool = False) -> RawSamples:
    """The first samples of a split. Images are their original files, or files of the same pixels.

    Parameters
    ----------
    generates : whether a model is to continue the texts; only their beginnings are taken then.

    Raises
    ------
    DataError : a sample can't be read.
    """
    rows = samples.indices[: min(limit, len(samples))]
    if isinstance(samples.rows, TableRows) and "image" in samples.rows.columns:
        return RawSamples("image", tuple(_files(samples.rows, rows)))
    found = samples.rows.fetch(rows)
    if "image" in found:
        return RawSamples("image", tuple(map(_encoded, found["image"])))
    if "tokens" in found:
        return RawSamples(
            "words", tuple([str(word) for word in words] for words in found["tokens"])
        )
    if "text_pair" in found:
        pairs = zip(found["text"], found["text_pair"], strict=True)
        return RawSamples("pair", tuple(map(list, pairs)))
    if generates:
        beginnings = (text[:_PROMPT] for text in found["text"])
        return RawSamples("prompt", tuple(text for text in beginnings if text.strip()))
    return RawSamples("text", tuple(found["text"]))


def _files(rows: TableRows, indices: Indices) -> list[bytes]:
    import datasets

    column = rows.columns["image"]
    stored = rows.inputs.cast_column(column, datasets.Image(decode=False))[indices.tolist()][column]
    files = []
    for index, value in zip(indices, stored, strict=True):
        if value["bytes"] is not None:
            files.append(value["bytes"])
        elif Path(value["path"]).is_file():
            files.append(Path(value["path"]).read_bytes())
        else:  # in an archive, or elsewhere
            files.append(_encoded(_one(rows, index)))
    return files


def _one(rows: Rows, index: np.int64) -> Any:
    return rows.fetch(np.array([index]))["image"][0]


def _encoded(image: Any) -> bytes:
    """The bytes of a file with the image's pixels, mode and orientation."""
    picture = image
    if isinstance(image, np.ndarray):
        picture = Image.fromarray(
            image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
        )
    if not isinstance(picture, Image.Image):
        raise DataError(f"an image must be a PIL image or an array. Got {type(image).__name__}.")
    exif = Image.Exif()
    turned = picture.getexif().get(ExifTags.Base.Orientation)
    if turned is not None:
        exif[ExifTags.Base.Orientation] = turned
    packed = io.BytesIO()
    picture.save(packed, format="PNG" if picture.mode in _AS_PNG else "TIFF", exif=exif)
    return packed.getvalue()
