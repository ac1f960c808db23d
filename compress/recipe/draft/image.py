"""Chooses the preprocessing of images for a model that comes without its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from compress.models.onnx_file.beside import preprocessing_of
from compress.models.onnx_file.problems import size_of_images
from compress.models.transformers.positions import image_size
from compress.recipe.draft.data import DraftData
from compress.recipe.draft.model import DraftModel

_USUAL = (224, 224)


class Preprocessing(NamedTuple):
    """The recipe's `data.image`, and why it says so."""

    keys: dict[str, Any]
    why: str


def choose_image(model: DraftModel, data: DraftData) -> Preprocessing | None:
    """Return the preprocessing of images; None if the model has its own, or the images may stay.

    Values are scaled to [0, 1] in any case.
    """
    if _has_its_own(model):
        return None
    size, picture = _wanted(model), data.picture
    channels = model.config.get("num_channels")
    more = {"channels": channels} if channels in (1, 3) else {}
    if size is not None and (picture is None or picture[:2] != size):
        return Preprocessing({"size": list(size), **more}, "the size that the model takes")
    if size is None and picture is None and "folder" in data.keys:
        why = "the images differ in size: all are resized to this one"
        return Preprocessing({"size": list(_USUAL), **more}, why)
    return Preprocessing(more, "the channels that the model takes") if more else None


def _has_its_own(model: DraftModel) -> bool:
    """Return whether an image processor comes with the model, as far as that can be seen."""
    if model.is_python:
        return False
    folder = preprocessing_of(model.spec()) if model.is_onnx else model.word
    if folder is None:
        return False
    on_the_hub = not model.is_onnx and not model.config
    return on_the_hub or (Path(folder).expanduser() / "preprocessor_config.json").is_file()


def _wanted(model: DraftModel) -> tuple[int, int] | None:
    """Return the height and width that a model takes; None if any, or if unknown."""
    onnx = model.spec().onnx
    if onnx is not None:
        return size_of_images(onnx)
    side = model.config.get("image_size")
    alone = (side, side) if isinstance(side, int) and not isinstance(side, bool) else None
    return image_size(model.config) or alone
