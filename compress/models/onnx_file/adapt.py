"""Gives a given graph the form of the files that are exported here, without changing its answers.

Its inputs get the names and types that the task gives, its answer the task's name, in raw scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from compress.errors import ModelError
from compress.models.onnx_file.matching import Activation, Wanted
from compress.models.onnx_file.scores import before_activation, before_zipmap
from compress.onnx_graph.ends import keep_outputs, put_before, rename, require_float
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.header import ELEMENTS
from compress.onnx_graph.tidy import raise_opset, tidy
from compress.onnx_graph.types import declared_type
from compress.tasks.outputs import HIDDEN, PRESENT, SENTENCE_EMBEDDING

if TYPE_CHECKING:
    from onnx import ModelProto


Array = NDArray[Any]
_IMAGE_AXES = 4
_TO_LAST = (0, 2, 3, 1)
_FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
)


class Form(NamedTuple):
    """What is done to a batch's values before an input takes them.

    Attributes
    ----------
    note : words for it; empty if nothing is done.
    of : does it to an array.
    """

    note: str
    of: Callable[[Array], Array]


_PLAIN = Form("", lambda values: values)
_LAST = Form(
    "has its channels last: images are turned to that",
    lambda values: values.transpose(_TO_LAST) if values.ndim == _IMAGE_AXES else values,
)
_COLUMN = Form(
    "takes a column: single numbers become rows of one",
    lambda values: values[:, None] if values.ndim == 1 else values,
)
_FORMS = (_PLAIN, _LAST, _COLUMN)


@dataclass(frozen=True)
class Taken:
    """How one input of a given file is fed.

    Attributes
    ----------
    name : the file's own name of it.
    given : the task's name of what it is given.
    element : its TensorProto.DataType.
    usual : the type of what it is given.
    form : what is done to the values.
    """

    name: str
    given: str
    element: int
    usual: int
    form: Form

    def array(self, values: Array) -> Array:
        """Return a batch's values as the file itself takes them."""
        own = self.form.of(values).astype(helper.tensor_dtype_to_np_dtype(self.element))
        return np.ascontiguousarray(own)


@dataclass(frozen=True)
class Given:
    """How one output of a given file is read.

    Attributes
    ----------
    name : the file's own name of it.
    wanted : what it is for the task.
    activation : what the file applied to the scores that the graph now has in its place.
    """

    name: str
    wanted: Wanted
    activation: Activation | None = None


@dataclass(frozen=True)
class Adapted:
    """A graph in the form of our own, and how it came about.

    Attributes
    ----------
    model : the graph.
    taken : its inputs as the file has them.
    given : its outputs as the file has them, in the task's order.
    notes : the changes, in words.
    raised : whether its opset was raised.
    """

    model: ModelProto
    taken: tuple[Taken, ...]
    given: tuple[Given, ...]
    notes: tuple[str, ...]
    raised: bool


def adapt(
    model: ModelProto,
    *,
    inputs: Mapping[str, str],
    outputs: Mapping[str, Wanted],
    batch: Mapping[str, Array],
    texts: bool,
    raises: bool = True,
) -> Adapted:
    """Return a file's graph with the task's inputs and its outputs, classes in raw scores.

    Parameters
    ----------
    model : the file's model, with its weights; it is changed.
    inputs : for each of the file's inputs the name of what it is given.
    outputs : for each of the file's outputs that the task reads what it is.
    batch : a real batch, by the names of `inputs`.
    texts : whether the second of two axes is a sequence of tokens.
    raises : raise the opset, if it is an old one and onnx can convert it.

    Raises
    ------
    ModelError : an input can't take what it is given, or an output isn't a tensor.
    """
    tidy(model)
    taken = tuple(
        _taken(model, own, given, batch[given], texts=texts) for own, given in inputs.items()
    )
    notes = list(_on_inputs(taken))
    beside, tensors = _read_alone(model, outputs, notes)
    elements = [Graph(model).element_type(name) for name in tensors]
    opset = Graph(model).opset
    _raise(model, notes, wanted=raises)
    graph = Graph(model)
    raised = graph.opset != opset
    given, scores = [], []
    for (name, wanted), tensor in zip(outputs.items(), tensors, strict=True):
        before = None
        if not beside:
            before = before_activation(
                graph, tensor, wanted.activation, class_axis=wanted.class_axis
            )
        if before is not None:
            notes.append(
                f"its last {wanted.activation} is left to the bundle, whose infer.py applies it"
            )
        given.append(Given(name, wanted, wanted.activation if before is not None else None))
        scores.append(before or tensor)
    keep_outputs(model, [*scores, *beside])
    inside = [_aside(model, one.name) for one in taken]  # a name may be that of something else
    outside = [_aside(model, name) for name in scores]
    for one, name in zip(taken, inside, strict=True):
        _feed(model, one, name)
    for each, name, element in zip(given, outside, elements, strict=True):
        rename(model, name, each.wanted.name)
        require_float(model, each.wanted.name, element)
    return Adapted(model, taken, tuple(given), tuple(notes), raised)


def _read_alone(
    model: ModelProto, outputs: Mapping[str, Wanted], notes: list[str]
) -> tuple[list[str], list[str]]:
    """Leave other outputs than the task's out; return those kept beside, and the task's tensors.

    Caches are kept, and hidden states beside an embedding that is made of them.
    """
    others = [value.name for value in model.graph.output if value.name not in outputs]
    pooled = any(one.name == SENTENCE_EMBEDDING for one in outputs.values())
    beside = [name for name in others if name.startswith(PRESENT) or (pooled and name == HIDDEN)]
    left_out = [name for name in others if name not in beside]
    tensors = []
    for name in outputs:
        value = next(one for one in model.graph.output if one.name == name)
        if value.type.HasField("sequence_type"):
            notes.append(f"its dictionaries of probabilities ({name}) are left to 'labels.json'")
            tensors.append(before_zipmap(model, name))
        else:
            tensors.append(name)
    if left_out:
        notes.append(f"its outputs {', '.join(left_out)} are left out")
    keep_outputs(model, [*tensors, *beside])
    return beside, tensors


def _raise(model: ModelProto, notes: list[str], *, wanted: bool) -> None:
    """Give the model an opset on which all methods work, if onnx can convert it."""
    opset = Graph(model).opset
    if not wanted:
        why = "onnx's conversion changes its answers"
        notes.append(f"opset {opset} stays, as {why}: not every method can work on it")
    elif not raise_opset(model):
        notes.append(f"opset {opset} can't be raised: not every method can work on it")
    elif Graph(model).opset != opset:
        notes.append(f"opset {opset} is raised to {Graph(model).opset}")


def _taken(model: ModelProto, name: str, given: str, values: Array, *, texts: bool) -> Taken:
    declared = declared_type(next(one for one in model.graph.input if one.name == name))
    usual = helper.np_dtype_to_tensor_dtype(values.dtype)
    element, shape = declared.element or usual, declared.shape
    _require_castable(name, given, element, values)
    form: Form | None = _PLAIN
    if shape is not None:
        fitting = (x for x in _FORMS if _fits(shape, x.of(values).shape, texts=texts))
        form = next(fitting, None)
    if form is None:
        said = " x ".join("?" if axis is None else str(axis) for axis in shape or ())
        got = " x ".join(map(str, values.shape[1:])) or "a single number"
        raise ModelError(
            f"its input {name!r} must be {said}, and each sample's {given!r} is {got}. "
            "Let the data be of that size ('data.image', 'data.max_length')."
        )
    return Taken(name, given, element, usual, form)


def _fits(shape: Sequence[int | str | None], given: Sequence[int], *, texts: bool) -> bool:
    """Return whether an input can take a batch; the first axis, and a text's second, may vary."""
    if len(shape) != len(given):
        return False
    rest = list(zip(shape, given, strict=True))[2 if texts and len(given) == 2 else 1 :]
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
        if one.element != one.usual:
            own, usual = (ELEMENTS.get(each, "other numbers") for each in (one.element, one.usual))
            yield f"its input {one.name!r} takes {own}: {usual} is cast to it"
        if one.form.note:
            yield f"its input {one.name!r} {one.form.note}"


def _aside(model: ModelProto, name: str) -> str:
    """Give a tensor a name that nothing else has or will have; return it."""
    free = Graph(model).unused_name(f"{name}.given")
    rename(model, name, free)
    return free


def _feed(model: ModelProto, one: Taken, placed: str) -> None:
    """Let the input that stands under a name for now take the task's values, by their name."""
    rename(model, placed, one.given)
    if one.form is _LAST:
        put_before(model, one.given, "Transpose", perm=list(_TO_LAST))
    elif one.form is _COLUMN:
        axis = Graph(model).add_initializer(f"{one.given}.axis", np.array([1], np.int64))
        put_before(model, one.given, "Unsqueeze", axis)
    if one.element != one.usual:
        put_before(model, one.given, "Cast", to=one.element)
    value = next(each for each in model.graph.input if each.name == one.given)
    kind = value.type.tensor_type
    axes = declared_type(value).shape
    kind.elem_type = one.usual
    if one.form is _PLAIN or axes is None:
        return
    kind.shape.ClearField("dim")
    for at in (0, 3, 1, 2) if one.form is _LAST else (0,):
        size = axes[at]
        dim = kind.shape.dim.add()
        if isinstance(size, int):
            dim.dim_value = size
        elif size is not None:
            dim.dim_param = size
