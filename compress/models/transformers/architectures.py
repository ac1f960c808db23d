"""Finds the tasks of transformers' models in the library's own tables, without importing it.

Importing transformers takes seconds. Its tables of class names are plain literals in one file.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from compress.core.context import Task
from compress.errors import clipped
from compress.models.transformers.unexportable import unexportable
from compress.tasks.registry import built_in, task_names

Table = Mapping[str, tuple[str, ...]]
"""Names of classes by `model_type`."""

_FILE = "models/auto/modeling_auto.py"
_BASE = "MODEL_MAPPING_NAMES"
_TABLE_OF = {
    "AutoModelForImageClassification": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForSequenceClassification": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForTokenClassification": "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForCausalLM": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "AutoModelForQuestionAnswering": "MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES",
    "AutoModelForMultipleChoice": "MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES",
    "AutoModelForMaskedLM": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "AutoModel": _BASE,
}
_PRETRAINED = "MODEL_FOR_PRETRAINING_MAPPING_NAMES"
_BODIES = (
    _BASE,
    _PRETRAINED,
    "MODEL_FOR_IMAGE_MAPPING_NAMES",
    "MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES",
)
"""Tables that tell a class's purpose only if no other table has the class."""
_FIRST = ("SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ", "CTC", "OBJECT_DETECTION")
"""Tables that are preferred for what stands in several, in this order."""
_OF_TEXTS = ("MASKED_LM", "SEQUENCE_CLASSIFICATION", "TEXT_ENCODING", "TOKEN_CLASSIFICATION")
_NOT_OF_TEXTS = (
    *("IMAGE", "IMAGE_CLASSIFICATION", "SEMANTIC_SEGMENTATION", "OBJECT_DETECTION"),
    *("VIDEO_CLASSIFICATION", "DEPTH_ESTIMATION", "AUDIO_CLASSIFICATION", "CTC"),
    *("SPEECH_SEQ_2_SEQ", "TEXT_TO_WAVEFORM", "MASK_GENERATION", "TIME_SERIES_PREDICTION"),
)
_WORDS = {
    "CAUSAL_LM": "text generation",
    "CTC": "speech recognition",
    "IMAGE": "features of images",
    "IMAGE_TEXT_TO_TEXT": "text about images",
    "MASKED_LM": "masked words (pretraining)",
    "MULTIPLE_CHOICE": "multiple choice",
    "PRETRAINING": "pretraining",
    "QUESTION_ANSWERING": "question answering",
    "SEQUENCE_CLASSIFICATION": "text classification",
    "SEQ_TO_SEQ_CAUSAL_LM": "text to text",
    "SPEECH_SEQ_2_SEQ": "speech to text",
    "TEXT_ENCODING": "features of texts",
}


@cache
def tables() -> Mapping[str, Table]:
    """Every table of the installed transformers by its name; empty if they can't be read."""
    spec = importlib.util.find_spec("transformers")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        try:
            tree = ast.parse((Path(folder) / _FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError, SyntaxError):
            continue  # another version may keep the tables elsewhere
        return dict(_literal_tables(tree))
    return {}


def tasks_of(kind: str) -> tuple[str, ...]:
    """The tasks for which transformers has models of a `model_type`."""
    return tuple(task.name for task in built_in() if task.auto_class and _can(kind, task))


def kind_problem(config: Mapping[str, Any], task: Task) -> str | None:
    """Reason why a config's architecture can't do a task; None if it can, or is unknown.

    Parameters
    ----------
    config : as config.json holds it.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or not _known(kind) or task.auto_class not in _TABLE_OF:
        return None
    if _can(kind, task):
        ahead = _ahead_problem(kind, config) if task.target == "next-token" else None
        return ahead or unexportable(kind)
    does = ", ".join(tasks_of(kind))
    purpose = _purpose_of_class(stored_class(config)) or does or _purpose_of_kind(kind)
    others = f"models of type {kind!r} can do {does}" if does else "none of them is its"
    return (
        f"{_named(kind, config)} is for {purpose or 'something else'}, not for {task.name}. "
        f"The tasks are {', '.join(task_names())}; {others}."
    )


def head_missing(config: Mapping[str, Any], task: Task) -> str | None:
    """The purpose of the stored class if its weights lack a head for a task; None if they have one.

    A class that transformers' tables don't name gives None too.
    """
    name = stored_class(config)
    if name is None or task.target == "none" or task.auto_class not in _TABLE_OF:
        return None
    found = [table for table in tables() if name in _classes(table)]
    if not found or _TABLE_OF[task.auto_class] in found:
        return None
    if task.auto_class == "AutoModelForMaskedLM" and _PRETRAINED in found:
        return None  # most of these models have such a head among others; loading says it
    if task.target == "next-token" and _is_body(found) and config.get("tie_word_embeddings", True):
        return None  # the head is the embeddings
    return _purpose_of_class(name) or "hidden states"


def class_has_head(name: str, task: Task) -> bool:
    """Return whether a class of transformers has the head of a task, as its own tables say."""
    table = _TABLE_OF.get(task.auto_class, _BASE)
    return table != _BASE and table in tables() and name in _classes(table)


def stored_class(config: Mapping[str, Any]) -> str | None:
    """The class from which the weights were saved, as a config names it; None if it names none."""
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named else None
    return first if isinstance(first, str) and first else None


def has_encoder_class(kind: str) -> bool:
    """Return whether transformers has a class for the encoder of a `model_type` alone."""
    return kind in _table("TEXT_ENCODING")


def has_several_classes(kind: str) -> bool:
    """Return whether transformers has several classes of a `model_type` for one purpose."""
    return any(len(table.get(kind, ())) > 1 for table in tables().values())


def _ahead_problem(kind: str, config: Mapping[str, Any]) -> str | None:
    """Reason why a model that reads a text in both directions can't generate text; else None."""
    if kind not in _table("MASKED_LM") or kind not in _table("CAUSAL_LM"):
        return None
    if config.get("is_decoder") is True or config.get("is_encoder_decoder"):
        return None
    return (
        f"{_named(kind, config)} reads the whole text, and text-generation needs a model that "
        "reads only the tokens before the next one. Such a model has 'is_decoder: true' in its "
        "config."
    )


def _named(kind: str, config: Mapping[str, Any]) -> str:
    return clipped(stored_class(config) or f"a model of type {kind!r}", 80)


def _can(kind: str, task: Task) -> bool:
    if kind not in tables().get(_TABLE_OF[task.auto_class], {}):
        return task.target == "none" and kind in _table("TEXT_ENCODING")
    return task.target not in ("none", "next-token") or not _is_of_something_else(kind)


def _is_of_something_else(kind: str) -> bool:
    """Return whether a model is for images, sounds or the like, and not for texts."""
    return any(kind in _table(name) for name in _NOT_OF_TEXTS) and not any(
        kind in _table(name) for name in _OF_TEXTS
    )


def _known(kind: str) -> bool:
    return any(kind in table for table in tables().values())


def _is_body(found: Iterable[str]) -> bool:
    return set(found) <= set(_BODIES)


def _table(name: str) -> Table:
    return tables().get(f"MODEL_FOR_{name}_MAPPING_NAMES", {})


def _classes(table: str) -> frozenset[str]:
    return frozenset(name for names in tables()[table].values() for name in names)


def _purpose_of_class(name: str | None) -> str | None:
    found = [table for table in tables() if name is not None and name in _classes(table)]
    return _purpose([table for table in found if table != _BASE])


def _purpose_of_kind(kind: str) -> str | None:
    return _purpose(
        [table for table, kinds in tables().items() if kind in kinds and table != _BASE]
    )


def _purpose(found: list[str]) -> str | None:
    telling = [table for table in found if table not in _BODIES] or found
    if not telling:
        return None
    names = [
        table.removeprefix("MODEL_FOR_").removesuffix("_NAMES").removesuffix("_MAPPING")
        for table in telling
    ]
    name = next((first for first in _FIRST if first in names), names[0])
    return _WORDS.get(name, name.lower().replace("_", " "))


def _literal_tables(tree: ast.Module) -> Iterator[tuple[str, Table]]:
    """The tables `NAME = OrderedDict([(kind, class or classes), …])` in a module's source."""
    for node in tree.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(args=[ast.List(elts=items)]),
            ) if name.endswith("_NAMES"):
                yield name, dict(_entries(items))


def _entries(items: Iterable[ast.expr]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for item in items:
        match item:
            case ast.Tuple(elts=[ast.Constant(value=str(kind)), ast.Constant(value=str(name))]):
                yield kind, (name,)
            case ast.Tuple(elts=[ast.Constant(value=str(kind)), ast.Tuple(elts=names)]):
                yield (
                    kind,
                    tuple(
                        each.value
                        for each in names
                        if isinstance(each, ast.Constant) and isinstance(each.value, str)
                    ),
                )
