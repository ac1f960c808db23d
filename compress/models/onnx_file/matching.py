"""Matches a file's inputs and outputs with what a task gives and reads. No onnx here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compress.errors import ModelError, clipped, unknown
from compress.onnx_graph.header import TENSOR, Declared
from compress.tasks.contract import Task

if TYPE_CHECKING:
    from compress.core.context import Target
    from compress.core.context import Task as AnyTask

Activation = Literal["softmax", "sigmoid"]

_DECORATION = re.compile(r"^serving_default_|:\d+$")
"""What TensorFlow adds to names."""
_ALIASES = {
    "input_word_ids": "input_ids",
    "input_mask": "attention_mask",
    "segment_ids": "token_type_ids",
    "input_type_ids": "token_type_ids",
}
"""Names of the first BERT and of TensorFlow's hub."""
_SUPPLIED = ("past_key_values.", "position_ids")
"""Beginnings of the names of inputs that are supplied to a model that generates text."""
_AXES: Mapping[Target, int] = {
    "class": 2,
    "class-set": 2,
    "token-class": 3,
    "next-token": 3,
    "none": 3,
}
"""Number of axes of a task's answer, by the kind of its labels."""
_POOLED_AXES = 2
"""Number of axes of the answer of a task whose embedding is made inside of the graph."""
_ACTIVATIONS: Mapping[Target, Activation] = {
    "class": "softmax",
    "class-set": "sigmoid",
    "token-class": "softmax",
}
"""What a bundle applies to scores, by the kind of a sample's label."""
_TOKEN_AXES = 2
_FLOATS = ("", "float32", "float16", "float64", "bfloat16")


@dataclass(frozen=True)
class Wanted:
    """An output that a task reads.

    Attributes
    ----------
    name : the task's name of it.
    activation : what a bundle applies to it, if it holds scores.
    axes : number of its axes; None: any.
    class_axis : axis of its scores' classes.
    """

    name: str
    activation: Activation | None = None
    axes: int | None = None
    class_axis: int = -1


def match_inputs(
    inputs: Sequence[Declared], given: Sequence[str], named: Mapping[str, str], *, target: Target
) -> dict[str, str]:
    """Return for each of a file's inputs the name of what it is given.

    An input is found by the recipe's name for it, by its own name (whatever TensorFlow adds to it),
    or because it is the only one left for the only value left.

    Parameters
    ----------
    given : names of what the task gives, such as input_ids and attention_mask.
    named : the recipe's `model.inputs`.
    target : the kind of a sample's label. Models that generate text have inputs besides those
        given, which every session of ours supplies: caches and positions.

    Raises
    ------
    ModelError : an input isn't a tensor of numbers, or can't be matched.
    """
    for name, wanted in named.items():
        if name not in {one.name for one in inputs}:
            raise ModelError(unknown("input", name, [one.name for one in inputs]))
        if wanted not in given:
            raise ModelError(unknown(f"value for input {name!r}", wanted, given))
    found: dict[str, str] = {}
    left = []
    for one in inputs:
        require_numbers(one)
        wanted = named.get(one.name, _plain(one.name))
        if wanted in given and wanted not in found.values():
            found[one.name] = wanted
        elif target != "next-token" or not one.name.startswith(_SUPPLIED):
            left.append(one)
    unused = [name for name in given if name not in found.values()]
    if len(left) == 1 and unused and (len(unused) == 1 or not found):
        found[left.pop().name] = unused[0]
    if left:
        some = f"inputs: {{{left[0].name}: {(unused or list(given))[0]}}}"
        raise ModelError(
            f"its input {left[0]} has no value: the task gives {', '.join(given)}. "
            + (f"Say which it takes with '{some}'." if unused else "All of them are taken.")
        )
    return {one.name: found[one.name] for one in inputs if one.name in found}


def wanted_outputs(task: Task | AnyTask) -> tuple[Wanted, ...]:
    """Return what a task reads of a model, in its order."""
    if isinstance(task, Task):
        return tuple(
            Wanted(
                one.name,
                "softmax" if one.role == "classes" else None,
                class_axis=one.class_axis,
            )
            for one in task.outputs
        )
    name, target = task.output_names[0], task.target
    axes = _POOLED_AXES if task.pools else _AXES.get(target)
    return (Wanted(name, _ACTIVATIONS.get(target), axes),)


def match_outputs(
    outputs: Sequence[Declared], wanted: Sequence[Wanted], named: Mapping[str, str]
) -> dict[str, Wanted]:
    """Return for each of a file's outputs that a task reads what it is, in the task's order.

    An output is found by the recipe's name for it, by its own name, or because it is the only one
    left of the form that is left.

    Parameters
    ----------
    named : the recipe's `model.outputs`.

    Raises
    ------
    ModelError : there is no such output, or there are several.
    """
    known, names = {one.name: one for one in outputs}, [one.name for one in wanted]
    for name, meant in named.items():
        if name not in known:
            raise ModelError(unknown("output", name, known))
        if meant not in names:
            raise ModelError(unknown(f"meaning of output {name!r}", meant, names))
    found: dict[str, str] = {meant: name for name, meant in named.items()}
    for one in outputs:
        meant = _plain(one.name)
        if meant in names and meant not in found and one.name not in found.values():
            found[meant] = one.name
    missing = [each for each in wanted if each.name not in found]
    for each in missing:
        left = [one for one in outputs if one.name not in found.values()]
        found[each.name] = _only(left, each, several=len(wanted) > 1).name
    return {found[each.name]: each for each in wanted}


def _only(outputs: Sequence[Declared], wanted: Wanted, *, several: bool) -> Declared:
    """Return the only output that can be a task's."""
    fitting = [one for one in outputs if _fits(one, wanted.axes)]
    if not fitting and wanted.activation == "softmax" and wanted.axes in (2, None):
        fitting = [one for one in outputs if one.kind == "sequence"]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(str(one) for one in outputs) or "none"
    form = f"a float tensor of {wanted.axes} axes" if wanted.axes else "a float tensor"
    what = f"the task's {wanted.name!r}" if several else "the answer"
    if not fitting:
        raise ModelError(f"it has no output that can be {what}, {form}. It has: {listed}.")
    raise ModelError(
        f"several of its outputs can be {what}: {', '.join(str(one) for one in fitting)}. "
        f"Name one, such as 'outputs: {{{fitting[0].name}: {wanted.name}}}'."
    )


def fixed_length(inputs: Sequence[Declared]) -> int | None:
    """Return the only number of tokens that a file's token inputs (N, S) take; None if any."""
    lengths = [
        one.shape[1] for one in inputs if one.shape is not None and len(one.shape) == _TOKEN_AXES
    ]
    return min((size for size in lengths if isinstance(size, int) and size > 0), default=None)


def _plain(name: str) -> str:
    bare = _DECORATION.sub("", _DECORATION.sub("", name))
    return _ALIASES.get(bare, bare)


def _fits(one: Declared, axes: int | None) -> bool:
    if one.kind != TENSOR or one.element not in _FLOATS:
        return False
    return axes is None or one.shape is None or len(one.shape) == axes


def require_numbers(one: Declared) -> None:
    """Require that an input is a tensor of numbers.

    Raises
    ------
    ModelError : it is something else.
    """
    if one.kind != TENSOR:
        raise ModelError(f"its input {one} must be a tensor.")
    if one.element == "string":
        raise ModelError(
            f"its input {one} takes texts as they are, and tasks give numbers. Cut the part of the "
            "graph that reads texts off, and give what it makes."
        )
    if one.element.startswith("type "):
        raise ModelError(f"its input {clipped(repr(one.name))} has elements of no known type.")
