"""Makes inputs for any ONNX file from the shapes and types that it declares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.foreign.boundary import reading
from compress.errors import DataError, clipped
from compress.measurement.session import PAST
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.graph import Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

LENGTH, SIZE, CHANNELS = 128, 224, 3
MOST_BYTES = 2**32
"""Bytes of a made input."""
_PAST = "past"
_SEQUENCE = ("seq", "len", "token")


@dataclass(frozen=True)
class Input:
    """One input as a file declares it.

    Attributes
    ----------
    name : name of the input.
    type : its dtype, such as int64.
    axes : for each axis its size if it is fixed, else its name; the first axis is the batch.
    values : number of different token ids that the input may hold; None if the graph doesn't say.
    """

    name: str
    type: np.dtype[Any]
    axes: tuple[int | str, ...]
    values: int | None = None


def declared(file: Path, *, caches: bool = False) -> tuple[Input, ...]:
    """The inputs of an ONNX file.

    Parameters
    ----------
    caches : whether to include the caches of generation, which `session.feed` supplies if empty.

    Raises
    ------
    DataError : an input isn't a tensor of numbers.
    LoadError : the file can't be read.
    """
    graph = load_graph(file)
    with reading(f"the inputs of {file}", error=DataError):
        return _declared(file, graph, caches=caches)


def _declared(file: Path, graph: Graph, *, caches: bool) -> tuple[Input, ...]:
    from onnx import helper

    sizes = vocabularies(graph)
    found = []
    for value in graph.inputs.values():
        if value.name.startswith(PAST) and not caches:
            continue
        kind = value.type.tensor_type
        if not kind.elem_type or not kind.HasField("shape"):
            raise DataError(f"the input {value.name!r} of {file} is no tensor of known rank.")
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if dtype.kind not in "biuf":
            raise DataError(f"the input {value.name!r} of {file} must hold numbers. Got {dtype}.")
        axes = tuple(
            axis.dim_value if axis.HasField("dim_value") else axis.dim_param or f"{value.name}:{n}"
            for n, axis in enumerate(kind.shape.dim)
        )
        if any(isinstance(axis, int) and axis < 0 for axis in axes):
            raise DataError(f"the input {value.name!r} of {file} has a negative size: {axes}.")
        found.append(Input(value.name, dtype, axes, sizes.get(value.name)))
    return tuple(found)


def fixed_batch(inputs: tuple[Input, ...]) -> int | None:
    """The only batch size that a file takes; None if it takes any."""
    sizes = {each.axes[0] for each in inputs if each.axes and isinstance(each.axes[0], int)}
    return min(int(size) for size in sizes) if sizes else None


def make_inputs(
    inputs: tuple[Input, ...],
    *,
    batch: int,
    length: int = LENGTH,
    sizes: Mapping[str, int] | None = None,
    seed: int = 0,
) -> dict[str, Array]:
    """Arrays (N, …) by input name: masks of ones, valid token ids, and normal random numbers.

    Parameters
    ----------
    inputs : the inputs that the files declare.
    batch : N.
    length : size of the dynamic axes that are a sequence's by their name.
    sizes : sizes of other axes, by their name.
    seed : seed of the random numbers.

    Raises
    ------
    DataError : the size of an axis is unknown, the batch size is fixed at another one, or the
        arrays would be too large.
    """
    generator = np.random.default_rng(seed)
    shapes = [shape_of(each, batch=batch, length=length, sizes=sizes or {}) for each in inputs]
    for each, shape in zip(inputs, shapes, strict=True):
        size = math.prod(shape) * each.type.itemsize
        if size > MOST_BYTES:
            words = " x ".join(str(number) for number in shape)
            raise DataError(
                f"the input {each.name!r} would be {clipped(words)} {each.type}, {size:,} bytes; "
                f"at most {MOST_BYTES:,} are made."
            )
    return {
        each.name: _values(each, shape, generator)
        for each, shape in zip(inputs, shapes, strict=True)
    }


def shape_of(one: Input, *, batch: int, length: int, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of a made input; see `make_inputs`."""
    shape = []
    for number, axis in enumerate(one.axes):
        if isinstance(axis, int):
            size: int | None = axis
        elif axis in sizes:
            size = sizes[axis]
        elif number == 0:
            size = batch
        else:
            size = _size(axis, one, number, length=length, sizes=sizes)
        if size is None:
            raise DataError(
                f"the size of axis {number} ({axis}) of the input {one.name!r} isn't known. "
                f"Say it with --set {axis}=SIZE."
            )
        if number == 0 and size != batch:
            raise DataError(
                f"the batch size of the input {one.name!r} is fixed at {size}. Got {batch}."
            )
        shape.append(size)
    return tuple(shape)


def assumed(inputs: tuple[Input, ...], *, length: int, sizes: Mapping[str, int]) -> str:
    """The made arrays in words: for each input its shape after the batch, and its values."""
    said = []
    for each in inputs:
        shape = shape_of(each, batch=fixed_batch((each,)) or 1, length=length, sizes=sizes)
        size = " x ".join(str(number) for number in shape[1:])
        said.append(f"{each.name} {size or 'scalars'} {each.type} ({_rule(each)})")
    return "; ".join(said)


def _size(
    axis: str, one: Input, number: int, *, length: int, sizes: Mapping[str, int]
) -> int | None:
    """The size of an axis by its name; None if the name doesn't say."""
    words = axis.lower()
    past = sum(size for name, size in sizes.items() if _PAST in name)
    if "total" in words or ("+" in words and _PAST in words):
        return past + length
    if _PAST in words:
        return past
    if any(word in words for word in _SEQUENCE):
        return length
    if one.type.kind == "f" and len(one.axes) == 4:
        return CHANNELS if number == 1 else SIZE
    if one.type.kind in "iu" and len(one.axes) == 2:
        return length
    return None


def _rule(one: Input) -> str:
    """The values of a made input, in words."""
    if one.type.kind == "f":
        return "zeros" if one.name.startswith(PAST) else "normal numbers"
    if "mask" in one.name:
        return "ones"
    if "position" in one.name:
        return "0, 1, 2, …"
    if "type" in one.name or "branch" in one.name:
        return "zeros"
    if one.values is None:
        return "0 and 1: the graph doesn't tell the range"
    return f"0 to {one.values - 1}"


def _values(one: Input, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    match _rule(one):
        case "normal numbers":
            return generator.standard_normal(shape).astype(one.type)
        case "zeros":
            return np.zeros(shape, one.type)
        case "ones":
            return np.ones(shape, one.type)
        case "0, 1, 2, …":
            return np.broadcast_to(np.arange(shape[-1]), shape).astype(one.type)
        case _:
            return generator.integers(0, one.values or 2, shape).astype(one.type)


def vocabularies(graph: Graph) -> dict[str, int]:
    """Number of rows in the table that an input indexes, by the input's name."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.tensors()}
    found: dict[str, int] = {}
    for node in graph.every_node:
        if node.op_type not in ("Gather", "GatherBlockQuantized"):
            continue
        table, index = node.input[0], node.input[1]
        if (maker := graph.made_by(table, "DequantizeLinear")) is not None:
            table = maker.input[0]
        behind: set[str] = set()
        while (maker := graph.made_by(index, "Cast", "Reshape", "Identity")) is not None:
            if index in behind:  # a cycle, which ONNX Runtime refuses
                break
            behind.add(index)
            index = maker.input[0]
        if shapes.get(table):
            found[index] = min(found.get(index, shapes[table][0]), shapes[table][0])
    return found
