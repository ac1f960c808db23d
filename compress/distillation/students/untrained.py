"""Makes untrained students, whose weights are random."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from compress.core.artifact import ModelSource
from compress.core.foreign.boundary import reading
from compress.core.foreign.remote_code import asks
from compress.distillation.students.layers import Student
from compress.errors import ModelError, StageError, clipped, unknown
from compress.models.folder.config_file import config_problem
from compress.models.source import PythonSource, TransformersSource
from compress.models.spec import is_folder
from compress.models.structure.layers import COUNT
from compress.models.transformers.config_keys import known_keys
from compress.models.transformers.configs import choose_first_class
from compress.models.weights.weightless import require_room

_PER_LAYER = "layer_types"


def from_changes(
    changes: Mapping[str, Any], source: ModelSource | None, *, labels: tuple[str, ...], seed: int
) -> Student:
    """An untrained model of the teacher's class, with changes to the teacher's config.

    Parameters
    ----------
    changes : values by config key; the teacher's family must have each key.
    source : the teacher's source.
    labels : class names in the order of the logits; empty: the teacher config's own.
    seed : the seed of its weights.

    Raises
    ------
    StageError : the teacher isn't a transformers model, a key is unknown, or the changes don't fit.
    """
    if not isinstance(source, TransformersSource):
        raise StageError(
            "a student by changes to the teacher's config needs a transformers teacher. "
            "Give a config folder or id, or 'python'."
        )
    known = known_keys(type(source.load_config())) | set(source.config)
    names: dict[str, str] = getattr(source.load_config(), "attribute_map", {})
    given = {names.get(key, key): value for key, value in changes.items()}
    _require_bounded(given)
    for key in given:
        if key not in known:
            raise StageError(unknown("key of the teacher's config", key, known))
    config = source.config | given
    if names.get(COUNT, COUNT) in given and _PER_LAYER not in given:
        config.pop(_PER_LAYER, None)  # One entry for each layer: transformers fills it.
    config |= _label_keys(labels)
    with seeded(seed), _sentence(f"a student with {dict(changes)}"):
        built = TransformersSource(source.class_name, config)
        require_room(built.build, name="the student")
        module = built.build()
    note = f"student: untrained {source.class_name} with {dict(changes)}"
    return Student(module, TransformersSource.of(module), (note,))


def from_config(
    name: str,
    source: ModelSource | None,
    *,
    auto_class: str,
    labels: tuple[str, ...],
    seed: int,
) -> Student:
    """An untrained transformers model from a folder's or hub id's config.

    Parameters
    ----------
    name : a folder with config.json, or a hub id; weights there aren't read.
    source : the teacher's source; its vocabulary must not be larger.
    auto_class : a class of `transformers`, such as "AutoModelForImageClassification".
    labels : class names in the order of the logits; empty: the teacher config's own.
    seed : the seed of its weights.

    Raises
    ------
    ModelError : the config asks for code of its own.
    StageError : there is no such config, no labels are known, or the vocabulary is too small.
    """
    import transformers

    given = labels or _labels_of(source)
    if not given:
        raise StageError(f"a student by 'transformers: {name}' needs class names. Got no labels.")
    with _sentence(f"a student by 'transformers: {name}'"):
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    _require_bounded(config.to_dict())
    choose_first_class(config)
    # The student's head has the teacher's type of problem, not the folder's.
    meant = source.config.get("problem_type") if isinstance(source, TransformersSource) else None
    for key, value in (
        _label_keys(given) | {"dtype": torch.float32, "problem_type": meant}
    ).items():
        setattr(config, key, value)
    needed = source.config.get("vocab_size") if isinstance(source, TransformersSource) else None
    if needed and getattr(config, "vocab_size", needed) < needed:
        raise StageError(
            f"'vocab_size' of the student must be at least the teacher's {needed}: both read the "
            f"same tokens. Got {config.vocab_size}."
        )
    with seeded(seed), _sentence(f"a student by 'transformers: {name}'"):
        auto = getattr(transformers, auto_class)
        require_room(
            lambda: auto.from_config(copy.deepcopy(config), trust_remote_code=False),
            name="the student",
        )
        module = auto.from_config(config, trust_remote_code=False).float().eval()
    shown = Path(name).name if is_folder(name) else name  # notes go into bundles
    note = f"student: untrained {type(module).__name__} with the config of {shown}"
    return Student(module, TransformersSource.of(module), (note,))


def from_source(source: ModelSource | None, *, seed: int) -> Student:
    """An untrained model of the architecture that is given.

    Parameters
    ----------
    source : the model's source. It doesn't have pruned widths, so these are whole again.
    seed : the seed of its weights.

    Raises
    ------
    StageError : the model has no source.
    """
    if source is None:
        raise StageError("a student by 'self' needs a model that can be built again. Got none.")
    with seeded(seed):
        module = source.build()
    return Student(module, source, ("student: untrained, of the same architecture",))


def from_factory(factory: str, *, arguments: Mapping[str, Any], seed: int) -> Student:
    """An untrained plain module.

    Parameters
    ----------
    factory : "package.module:function".
    arguments : the function's keyword arguments.
    seed : the seed of its weights.

    Raises
    ------
    ModelError : see `compress.models.source.PythonSource.build`.
    """
    source = PythonSource(factory, dict(arguments))
    with seeded(seed):
        module = source.build()
    return Student(module, source, (f"student: untrained, from {factory}",))


def _require_bounded(config: Mapping[str, Any]) -> None:
    wrong = config_problem(config)
    if wrong is not None:
        raise StageError(f"the student's config: {wrong}")


def _label_keys(labels: tuple[str, ...]) -> dict[str, Any]:
    if not labels:
        return {}
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def _labels_of(source: ModelSource | None) -> tuple[str, ...]:
    if not isinstance(source, TransformersSource):
        return ()
    return tuple(str(label) for label in source.load_config().id2label.values())


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's generator as from this seed, and leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _sentence(student: str) -> Iterator[None]:
    """Turn exceptions of any kind, by which transformers refuses configs, into a StageError."""
    try:
        with reading(student, error=StageError, failed=f"{clipped(student)} can't be built"):
            yield
    except StageError as error:
        if error.__cause__ is not None and asks(error.__cause__):
            raise ModelError(str(error)) from error
        raise
