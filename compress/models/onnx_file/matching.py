"""Matches a file's inputs and outputs with what a task gives and reads. No onnx here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from compress.errors import ModelError, clipped, unknown
from compress.onnx_graph.header import TENSOR, Declared

if TYPE_CHECKING:
    from compress.core.context import Target

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
_TOKEN_AXES = 2
_FLOATS = ("", "float32", "float16", "float64", "bfloat16")


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
        _require_numbers(one)
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


def match_output(
    outputs: Sequence[Declared], names: Sequence[str], target: Target, named: str | None
) -> Declared:
    """Return the output that holds a task's answer.

    Parameters
    ----------
    names : the task's names of it, such as logits.
    target : the kind of a sample's label, which says how many axes an answer has.
    named : the recipe's `model.output`.

    Raises
    ------
    ModelError : there is no such output, or there are several.
    """
    known = {one.name: one for one in outputs}
    if named is not None:
        if named not in known:
            raise ModelError(unknown("output", named, known))
        return known[named]
    exact = [one for one in outputs if _plain(one.name) in names]
    if exact:
        return exact[0]
    axes = _AXES.get(target)
    fitting = [one for one in outputs if _fits(one, axes)]
    fitting = fitting or [one for one in outputs if one.kind == "sequence" and axes == 2]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(str(one) for one in outputs) or "none"
    wanted = f"a float tensor of {axes} axes" if axes else "a float tensor"
    if not fitting:
        raise ModelError(f"it has no output that can be the answer, {wanted}. It has: {listed}.")
    raise ModelError(
        f"several of its outputs can be the answer: {', '.join(str(one) for one in fitting)}. "
        f"Name one, such as 'output: {fitting[0].name}'."
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


def _require_numbers(one: Declared) -> None:
    if one.kind != TENSOR:
        raise ModelError(f"its input {one} must be a tensor.")
    if one.element == "string":
        raise ModelError(
            f"its input {one} takes texts as they are, and tasks give numbers. Cut the part of the "
            "graph that reads texts off, and give what it makes."
        )
    if one.element.startswith("type "):
        raise ModelError(f"its input {clipped(repr(one.name))} has elements of no known type.")
