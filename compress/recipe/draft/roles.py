"""Chooses which columns of the data are what: texts, words, images, labels, inputs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compress.core.context import Task
from compress.errors import InputError
from compress.recipe.draft.columns import LABELS, PAIRS, TEXTS, WORDS, Column, Kind, preferred
from compress.recipe.draft.data import DraftData
from compress.recipe.draft.task import likely_label
from compress.tasks.contract import Task as OwnTask

_BEGINNINGS = ("question", "sent1", "startphrase", "premise", "prompt", "context")
_NUMBERED = re.compile(r"(ending|choice|option|answer)[_ ]?\d", re.IGNORECASE)
"""Usual names of the columns of choices, where each has its own."""
_IMAGES = ("image", "img", "picture", "pixel_values")


@dataclass(frozen=True)
class Roles:
    """The data's columns by their meaning.

    Attributes
    ----------
    keys : the recipe's `data.columns`, without those that have their usual names.
    inputs : columns that a sample is made of.
    label : column of the labels; None if there is none, or if it can't be seen from here.
    why : a sentence for each choice, by the key in `columns`.
    """

    keys: dict[str, Any]
    inputs: tuple[Column, ...]
    label: Column | None
    why: Mapping[str, str]


def choose_roles(task: Task, data: DraftData, given: Mapping[str, Any]) -> Roles:
    """Return the columns of the data by their meaning for a task.

    Parameters
    ----------
    given : the recipe's `data.columns`, as far as they are given.

    Raises
    ------
    InputError : several columns could be it, or none; the message says how to name it.
    """
    if not data.columns:
        return Roles(dict(given), (), None, {})
    keys: dict[str, Any] = dict(given)
    why: dict[str, str] = {}
    label = _label(task, data, keys, why)
    others = {name: one for name, one in data.columns.items() if one is not label}
    if isinstance(task, OwnTask):
        inputs = _own_inputs(task, others, data, keys, why)
    elif task.modality == "image":
        inputs = (_one("image", others, _IMAGES, ("image",), keys, data),)
    elif task.target == "token-class":
        inputs = (_one("tokens", others, WORDS, ("words",), keys, data),)
    else:
        inputs = _texts(others, keys, why, data)
    usual = {"text", "tokens", "image", "label"}
    kept = {key: value for key, value in keys.items() if not (key in usual and value == key)}
    return Roles(kept, inputs, label, why)


def _label(task: Task, data: DraftData, keys: dict[str, Any], why: dict[str, str]) -> Column | None:
    own = task if isinstance(task, OwnTask) else None
    unread = task.target in ("next-token", "none") or (own and own.label_column is None)
    if unread or "targets" in keys:
        return None
    usual = None if own is None else own.label_column
    if usual is not None and usual != "label" and usual in data.columns:
        return data.columns[usual]
    if "label" in keys:
        named = keys["label"]
        return None if named is None else _existing("label", str(named), data)
    found = likely_label(data, keys)
    if found is None:
        options = ", ".join(data.columns)
        raise InputError(
            f"which column of {data.word!r} holds the labels? Say it with "
            f"--set data.columns.label=NAME, one of {options}, or null if there are none."
        )
    keys["label"] = found.name
    if found.name != "label":
        reason = "by its name" if found.name.lower() in LABELS else "the only column of classes"
        why["label"] = reason
    return found


def _existing(key: str, name: str, data: DraftData) -> Column:
    if name not in data.columns:
        options = ", ".join(data.columns)
        raise InputError(
            f"data.columns.{key}: {data.word!r} has no column {name!r}. It has: {options}."
        )
    return data.columns[name]


def _texts(
    columns: Mapping[str, Column], keys: dict[str, Any], why: dict[str, str], data: DraftData
) -> tuple[Column, ...]:
    """Return the column of texts, or the two of pairs."""
    if "text" not in keys:
        lower = {
            name.lower(): name for name, one in columns.items() if one.kind in ("text", "class")
        }
        for one, other in PAIRS:
            if one in lower and other in lower:
                keys["text"], keys["text_pair"] = lower[one], lower[other]
                why["text_pair"] = "two columns whose names belong together"
                break
    first = _one("text", columns, TEXTS, ("text",), keys, data)
    pair = keys.get("text_pair")
    return (first,) if pair is None else (first, _existing("text_pair", str(pair), data))


def _one(
    key: str,
    columns: Mapping[str, Column],
    names: Sequence[str],
    kinds: Sequence[Kind],
    keys: dict[str, Any],
    data: DraftData,
) -> Column:
    """Return the column with a usual name, or else the only one of its kind."""
    if key in keys:
        return _existing(key, str(keys[key]), data)
    fitting = {name: one for name, one in columns.items() if one.kind in kinds}
    found = preferred(fitting, names)
    if found is None and len(fitting) == 1:
        found = next(iter(fitting.values()))
    if found is None:
        options = ", ".join(fitting or columns or data.columns)
        raise InputError(
            f"which column of {data.word!r} holds the {key}? Say it with "
            f"--set data.columns.{key}=NAME, one of {options}."
        )
    keys[key] = found.name
    return found


def _own_inputs(
    task: OwnTask,
    columns: Mapping[str, Column],
    data: DraftData,
    keys: dict[str, Any],
    why: dict[str, str],
) -> tuple[Column, ...]:
    """Return the inputs of a task on the contract; the numbers of a table become one vector."""
    fields = task.columns or tuple(one.name for one in task.inputs)
    if "text" in fields:
        return _texts(columns, keys, why, data)
    if fields:
        _complete(task, fields, columns, data, keys, why)
    elif data.samples == "table" and "inputs" not in keys:
        numbers = [name for name, one in columns.items() if one.kind in ("number", "class")]
        keys["inputs"] = {"features": numbers}
        left = [name for name in columns if name not in numbers]
        rest = f"; these aren't numbers and are left out: {', '.join(left)}" if left else ""
        why["inputs"] = f"every column of numbers, as one vector{rest}"
    named = keys.get("inputs") or {}
    listed = [named.get(name, name) for name in fields] or list(named.values()) or list(columns)
    names = [name for each in listed for name in (each if isinstance(each, list) else [each])]
    return tuple(_existing("inputs", name, data) for name in names)


def _complete(
    task: OwnTask,
    fields: Sequence[str],
    columns: Mapping[str, Column],
    data: DraftData,
    keys: dict[str, Any],
    why: dict[str, str],
) -> None:
    """Name the columns of a task's fields that have other names, if these are usual ones."""
    named = dict(keys.get("inputs") or {})
    for field in fields:
        if field in columns or field in named:
            continue
        numbered = [name for name in columns if _NUMBERED.fullmatch(name)]
        if field == "choices" and len(numbered) > 1:
            named[field] = numbered
        elif field == "question" and (found := preferred(columns, _BEGINNINGS)) is not None:
            named[field] = found.name
        else:
            options = ", ".join(columns)
            raise InputError(
                f"which column of {data.word!r} holds the {field} of {task.name}? Say it with "
                f"--set data.columns.inputs.{field}=NAME, one of {options}."
            )
        why["inputs"] = "by the usual names of such columns"
    if named:
        keys["inputs"] = named
