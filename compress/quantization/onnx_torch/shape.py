"""Operators that move elements without changing them, and operators that compute shapes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.errors import StageError
from compress.quantization.onnx_torch.operator import (
    Attributes,
    Inputs,
    Operator,
    given,
    integers,
)


def sizes(tensor: Tensor) -> list[int]:
    """The integers of a tensor as a list."""
    return [int(value) for value in tensor.reshape(-1).tolist()]


def shape(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    found = list(x.shape)[attributes.get("start", 0) : attributes.get("end")]
    return torch.tensor(found, dtype=torch.int64, device=x.device)


def size(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return torch.tensor(x.numel(), dtype=torch.int64, device=x.device)


def reshape(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    wanted = sizes(inputs[1])
    if not attributes.get("allowzero", 0):
        wanted = [x.shape[i] if extent == 0 else extent for i, extent in enumerate(wanted)]
    return x.reshape(wanted)


def flatten(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    axis = attributes.get("axis", 1)
    rows = 1
    for extent in x.shape[:axis]:
        rows *= extent
    return x.reshape(rows, -1)


def transpose(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return x.permute(attributes.get("perm", list(reversed(range(x.ndim)))))


def concat(inputs: Inputs, attributes: Attributes) -> Tensor:
    return torch.cat(list(inputs), dim=attributes["axis"])


def expand(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    wanted = sizes(inputs[1])
    own = [1] * (len(wanted) - x.ndim) + list(x.shape)
    wanted = [1] * (len(own) - len(wanted)) + wanted
    # Either side may have the larger extent.
    return x.expand([b if a == 1 else a for a, b in zip(own, wanted, strict=True)])


def squeeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    axes = integers(inputs, 1, attributes, "axes")
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def unsqueeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    axes = integers(inputs, 1, attributes, "axes") or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def slice_(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    starts = integers(inputs, 1, attributes, "starts") or []
    ends = integers(inputs, 2, attributes, "ends") or []
    axes = integers(inputs, 3, attributes, "axes") or list(range(len(starts)))
    steps = integers(inputs, 4, attributes, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        kept = range(x.shape[axis])[start:end:step]
        if step > 0:
            parts: list[slice] = [slice(None)] * x.ndim
            parts[axis] = slice(kept.start, max(kept.start, kept.stop), step)
            x = x[tuple(parts)]
        else:
            x = x.index_select(axis, torch.tensor(list(kept), device=x.device, dtype=torch.int64))
    return x


def split(inputs: Inputs, attributes: Attributes) -> tuple[Tensor, ...]:
    x: Tensor = inputs[0]
    axis = attributes.get("axis", 0)
    parts = integers(inputs, 1, attributes, "split")
    if parts is not None:
        return torch.split(x, parts, dim=axis)
    count = attributes.get("num_outputs")
    if count is None:
        raise StageError("a Split must say its parts' sizes or their number.")
    return torch.split(x, -(-x.shape[axis] // count), dim=axis)


def tile(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return x.repeat(sizes(inputs[1]))


_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def pad(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    pads = integers(inputs, 1, attributes, "pads") or []
    axes = given(inputs, 3)
    places = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in sizes(axes)]
    sides = [0] * 2 * x.ndim
    for place, axis in enumerate(places):
        last = x.ndim - 1 - axis  # torch begins with the last axis
        sides[2 * last], sides[2 * last + 1] = pads[place], pads[len(places) + place]
    mode = _MODES[attributes.get("mode", "constant")]
    if mode != "constant":
        while sides[-2:] == [0, 0]:  # other modes take as few axes as they can
            del sides[-2:]
        return F.pad(x, sides, mode=mode)
    value = given(inputs, 2)
    return F.pad(x, sides, value=0.0 if value is None else value.item())


def range_(inputs: Inputs, attributes: Attributes) -> Tensor:
    start, limit, delta = inputs
    return torch.arange(
        start.item(), limit.item(), delta.item(), dtype=start.dtype, device=start.device
    )


def constant_of_shape(inputs: Inputs, attributes: Attributes) -> Tensor:
    value = attributes.get("value", torch.zeros(1))
    filled: Tensor = value.to(inputs[0].device).reshape(()).expand(sizes(inputs[0]))
    return filled


def triangle(inputs: Inputs, attributes: Attributes) -> Tensor:
    diagonal = given(inputs, 1)
    offset = 0 if diagonal is None else int(diagonal)
    upper = attributes.get("upper", 1)
    return torch.triu(inputs[0], offset) if upper else torch.tril(inputs[0], offset)


SHAPE: Mapping[str, Operator] = {
    "Concat": concat,
    "ConstantOfShape": constant_of_shape,
    "Expand": expand,
    "Flatten": flatten,
    "Pad": pad,
    "Range": range_,
    "Reshape": reshape,
    "Shape": shape,
    "Size": size,
    "Slice": slice_,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Trilu": triangle,
    "Unsqueeze": unsqueeze,
}
