"""Chooses the stages of a draft by how many times smaller the model is to become."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from compress.core.context import Task
from compress.models.folder.header import every_shape, layer_count
from compress.models.structure.transformers.families import LAYOUTS
from compress.recipe.draft.model import DraftModel

INT8 = 3.6
"""How many times smaller INT8 makes a file, about: four times but for scales, biases and graph."""
WITHOUT_A_GOAL = 2.0
_VOCABULARY_LEFT = 0.5
"""Share of the embeddings that is left without the tokens that data never uses, as a guess."""
_LARGE = 5000
"""Tokens above which dropping the unused ones is worth a stage."""
_CUTS = ((1.0, 1.0), (1.0, 0.75), (1.0, 0.5), (0.5, 0.75), (0.5, 0.5), (0.34, 0.5), (0.25, 0.4))
"""Shares of the layers, and then of the multiply-accumulates, that are left; gentle ones first."""
_CUTS_OF_ONE_PIECE = ((1.0, 1.0), (1.0, 0.75), (1.0, 0.5), (1.0, 0.35), (1.0, 0.25), (1.0, 0.15))
"""The same where layers can't be left out."""
_UNLABELLED = {"response": {"temperature": 2.0, "weight": 1.0}, "labels": None}
_OF_EMBEDDINGS = {
    "response": None,
    "labels": None,
    "feature": {"weight": 1.0, "layers": "last"},
    "relation": {"cosine": 1.0, "distance": 0.5},
}


@dataclass(frozen=True)
class DraftStages:
    """The stages of a draft.

    Attributes
    ----------
    stages : as in a recipe, each with the comment that explains it.
    smaller : how many times smaller the file becomes, as estimated.
    cuts : whether anything but quantization makes it smaller.
    """

    stages: tuple[tuple[dict[str, Any], str], ...]
    smaller: float
    cuts: bool


@dataclass(frozen=True)
class DraftTraining:
    """What the trainings of a draft begin from.

    Attributes
    ----------
    train : why the model is trained on the labels first; None: it isn't.
    labelled : whether the data has labels.
    rows : number of rows of train; None if unknown.
    """

    train: str | None
    labelled: bool
    rows: int | None

    def training(self, epochs: int, rate: float) -> dict[str, Any]:
        """Return the keys of a training, with batches that suit the number of rows."""
        rows = self.rows or 10_000
        size = 32 if rows >= 600 else 16 if rows >= 150 else 8
        return {"epochs": epochs, "batch_size": size, "learning_rate": rate}


def plan_stages(
    goal: float, *, task: Task, model: DraftModel, lesson: DraftTraining
) -> DraftStages:
    """Return the stages that make a model so many times smaller, the gentlest that should do."""
    layers = layer_count(model.config) if "transformers" in model.keys else None
    family = "transformers" in model.keys and str(model.config.get("model_type")) in LAYOUTS
    cuttable = model.is_python or family
    embedded = _share_of_embeddings(model)
    can_drop = _can_drop_tokens(model, task) and embedded > 0
    ways = _CUTS if layers is not None and layers > 1 else _CUTS_OF_ONE_PIECE
    chosen, smaller = (1.0, 1.0, False), INT8
    for drops in (False, True) if can_drop else (False,):
        for kept, macs in ways:
            if macs < 1 and not cuttable:
                continue
            left = embedded * (_VOCABULARY_LEFT if drops else 1) + (1 - embedded) * kept * macs
            if smaller < goal and INT8 / left > smaller:
                chosen, smaller = (kept, macs, drops), INT8 / left
    kept, macs, drops = chosen
    stages = [
        *_train(lesson, model),
        *([_VOCABULARY] if drops else []),
        *_distill(layers, kept, task, lesson),
        *_prune(macs, task, lesson),
        _QUANTIZE,
        _EXPORT,
    ]
    return DraftStages(tuple(stages), smaller, chosen != (1.0, 1.0, False))


_VOCABULARY = (
    {"use": "vocabulary"},
    "Tokens that the data never uses go from the embeddings and the tokenizer.",
)
_QUANTIZE = (
    {"use": "quantize"},
    "INT8: method auto measures several ways and keeps the fastest within its budget.",
)
_EXPORT = ({"use": "export"}, "The bundle: model.onnx with all that is needed to use it.")


def _train(lesson: DraftTraining, model: DraftModel) -> Iterator[tuple[dict[str, Any], str]]:
    if lesson.train is not None:
        training = lesson.training(10, 1e-3) if model.is_python else lesson.training(3, 5e-5)
        yield {"use": "train", "training": training}, lesson.train


def _distill(
    layers: int | None, kept: float, task: Task, lesson: DraftTraining
) -> Iterator[tuple[dict[str, Any], str]]:
    if layers is None or kept == 1:
        return
    count = max(1, round(layers * kept))
    yield (
        {
            "use": "distill",
            "student": {"layers": count},
            **_losses(task, lesson),
            "training": lesson.training(4, 2e-4),
        },
        f"{count} of the {layers} layers, taken at even distances, learn the answers of all.",
    )


def _prune(macs: float, task: Task, lesson: DraftTraining) -> Iterator[tuple[dict[str, Any], str]]:
    if macs < 1:
        training = lesson.training(2, 1e-4)
        yield (
            {
                "use": "prune",
                "target": {"macs": macs},
                "recovery": {**_losses(task, lesson), "training": training},
            },
            f"The weakest units go until {macs:g} of the multiply-accumulates are left; then the "
            "model recovers, with the reference as teacher.",
        )


def _losses(task: Task, lesson: DraftTraining) -> dict[str, Any]:
    """Return `losses` where the defaults, answers and labels, don't fit."""
    if task.target == "none":
        return {"losses": _OF_EMBEDDINGS}
    unlabelled = not lesson.labelled and task.target != "next-token"
    return {"losses": _UNLABELLED} if unlabelled else {}


def _can_drop_tokens(model: DraftModel, task: Task) -> bool:
    size = model.config.get("vocab_size")
    return (
        not model.is_onnx
        and task.modality == "text"
        and task.target != "own"
        and isinstance(size, int)
        and size >= _LARGE
    )


def _share_of_embeddings(model: DraftModel) -> float:
    """Return the share of the parameters that embeds tokens; 0 if it isn't known."""
    shapes = every_shape(model.spec())
    size = model.config.get("vocab_size")
    if not shapes or not isinstance(size, int):
        return 0.0
    embedded = sum(prod(shape) for shape in shapes.values() if size in shape)
    return embedded / sum(prod(shape) for shape in shapes.values())
