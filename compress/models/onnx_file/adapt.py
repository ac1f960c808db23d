"""Gives a given graph the form of the files that are exported here, without changing its answers.

Its inputs get the names and types that the task gives, its answer the task's name, in raw scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from compress.errors import ModelError
from compress.models.onnx_file.scores import (
    Activation,
    without_activation,
    without_zipmap,
)
from compress.onnx_graph.ends import keep_outputs, put_before, rename, require_float
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.header import ELEMENTS
from compress.onnx_graph.tidy import tidied, with_newer_opset
from compress.onnx_graph.types import declared_type

if TYPE_CHECKING:
    from onnx import ModelProto

    from compress.core.context import Target

Array = NDArray[Any]
_IMAGE_AXES = 4
_TO_LAST, _CHANNELS = (0, 2, 3, 1), (1, 3)
_FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
)


@dataclass(frozen=True)
class Taken:
    """How one input of a given file is fed.

    Attributes
    ----------
    name : the file's own name of it.
    given : the task's name of what it is given.
    element : its TensorProto.DataType.
    last : whether images are turned to have their channels last.
    """

    name: str
    given: str
    element: int
    last: bool

    def array(self, values: Array) -> Array:
        """Return a batch's values as the file itself takes them."""
        turned = values.transpose(_TO_LAST) if self.last else values
        return np.ascontiguousarray(turned.astype(helper.tensor_dtype_to_np_dtype(self.element)))


@dataclass(frozen=True)
class Adapted:
    """A graph in the form of our own, and how it came about.

    Attributes
    ----------
    model : the graph.
    taken : its inputs as the file has them.
    activation : what the file applied to the scores that the graph now ends with.
    notes : the changes, in words.
    """

    model: ModelProto
    taken: tuple[Taken, ...]
    activation: Activation | None
    notes: tuple[str, ...]


def adapt(
    model: ModelProto,
    *,
    inputs: Mapping[str, str],
    output: str,
    name: str,
    target: Target,
    batch: Mapping[str, Array],
) -> Adapted:
    """Return a file's graph with the task's inputs and its answer in raw scores.

    Parameters
    ----------
    model : the file's model, with its weights; it may be changed.
    inputs : for each of the file's inputs the name of what it is given.
    output : the file's answer.
    name : the task's name of the answer.
    target : the kind of a sample's label.
    batch : a real batch, by the names of `inputs`.

    Raises
    ------
    ModelError : an input can't take what it is given, or the answer isn't a tensor.
    """
    model = tidied(model)
    taken = tuple(_taken(model, own, given, batch[given]) for own, given in inputs.items())
    notes = list(_on_inputs(taken))
    others = [value.name for value in model.graph.output if value.name != output]
    element = _element(model, output)
    if element is None:
        notes.append(f"its dictionaries of probabilities ({output}) are left to 'labels.json'")
        output = without_zipmap(model, output)
        element = TensorProto.FLOAT
    kept = [value for value in others if value.startswith("present")]
    others = [value for value in others if value not in kept]
    if others:
        notes.append(f"its outputs {', '.join(others)} are left out")
    keep_outputs(model, [output, *kept])
    opset = Graph(model).opset
    newer = with_newer_opset(model)
    if newer is None:
        notes.append(f"opset {opset} can't be raised: not every method can work on it")
    elif newer is not model:
        notes.append(f"opset {opset} is raised to {Graph(newer).opset}")
        model = newer
    activation = None if kept else without_activation(model, output, target)
    if activation is not None:
        notes.append(f"its last {activation} is left to the bundle, whose infer.py applies it")
        output = model.graph.output[0].name
    aside = [_aside(model, one.name) for one in taken]  # what is named may have another's name
    answer = _aside(model, output)
    for one, placed in zip(taken, aside, strict=True):
        _feed(model, one, placed, batch[one.given])
    rename(model, answer, name)
    require_float(model, name, element)
    return Adapted(model, taken, activation, tuple(notes))


def _taken(model: ModelProto, name: str, given: str, values: Array) -> Taken:
    declared = declared_type(next(one for one in model.graph.input if one.name == name))
    element, shape = declared.element or TensorProto.FLOAT, declared.shape
    _require_castable(name, given, element, values)
    last = (
        shape is not None
        and len(shape) == values.ndim == _IMAGE_AXES
        and shape[3] in _CHANNELS
        and shape[1] not in _CHANNELS
    )
    turned = values.transpose(_TO_LAST) if last else values
    if shape is not None and not _fits(shape, turned.shape):
        said = " x ".join("?" if axis is None else str(axis) for axis in shape)
        got = " x ".join(map(str, values.shape[1:]))
        raise ModelError(
            f"its input {name!r} must be {said}, and each sample's {given!r} is {got}. "
            "Let the data be of that size ('data.image', 'data.max_length')."
        )
    return Taken(name, given, element, last)


def _fits(shape: Sequence[int | str | None], given: Sequence[int]) -> bool:
    """Return whether an input can take a batch; the first axis, and a text's second, may vary."""
    if len(shape) != len(given):
        return False
    rest = list(zip(shape, given, strict=True))[1 if len(given) > 2 else 2 :]
    return all(not isinstance(axis, int) or axis in (0, size) for axis, size in rest)


def _require_castable(name: str, given: str, element: int, values: Array) -> None:
    if values.dtype.kind == "f" and element not in _FLOATS:
        raise ModelError(
            f"its input {name!r} takes {ELEMENTS.get(element, 'numbers of another type')}, and "
            f"{given!r} is {values.dtype}: rounding would lose what it holds."
        )


def _on_inputs(taken: Sequence[Taken]) -> Iterator[str]:
    for one in taken:
        if one.name != one.given:
            yield f"its input {one.name!r} is named {one.given!r}, as the task names it"
        usual = TensorProto.FLOAT if one.element in _FLOATS else TensorProto.INT64
        if one.element != usual:
            yield (
                f"its input {one.name!r} takes {ELEMENTS.get(one.element, 'other numbers')}: "
                f"{ELEMENTS[usual]} is cast to it"
            )
        if one.last:
            yield f"its input {one.name!r} has its channels last: images are turned to that"


def _element(model: ModelProto, output: str) -> int | None:
    """Return the type of an output's elements; None if it is no tensor."""
    value = next(one for one in model.graph.output if one.name == output)
    if value.type.HasField("sequence_type"):
        return None
    return Graph(model).element_type(output)


def _aside(model: ModelProto, name: str) -> str:
    """Give a tensor a name that nothing else has or will have; return it."""
    free = Graph(model).unused_name(f"{name}.given")
    rename(model, name, free)
    return free


def _feed(model: ModelProto, one: Taken, placed: str, values: Array) -> None:
    """Let the input that stands under a name for now take the task's values, by their name."""
    rename(model, placed, one.given)
    if one.last:
        put_before(model, one.given, "Transpose", perm=list(_TO_LAST))
    wanted = helper.np_dtype_to_tensor_dtype(values.dtype)
    if one.element != wanted:
        put_before(model, one.given, "Cast", to=one.element)
    value = next(each for each in model.graph.input if each.name == one.given)
    value.type.tensor_type.elem_type = wanted
    if one.last:
        dims = [declared_type(value).shape[axis] for axis in (0, 3, 1, 2)]  # type: ignore[index]
        shape = value.type.tensor_type.shape
        shape.ClearField("dim")
        for axis in dims:
            dim = shape.dim.add()
            if isinstance(axis, int):
                dim.dim_value = axis
            elif axis is not None:
                dim.dim_param = axis
