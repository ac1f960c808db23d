"""The layers whose rounding can be optimised, and samples of their inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.onnx_graph.nodes import attributes
from compress.quantization.onnx_torch.convolution import padded
from compress.quantization.qat.roles import Roles, Stored

if TYPE_CHECKING:
    import onnx

    from compress.onnx_graph.graph import Graph

_ACTIVATIONS = ("Relu", "Clip")


@dataclass(frozen=True)
class WeightedLayer:
    """A matmul of activations with a quantized weight.

    Attributes
    ----------
    node : its name, the same in the float and the quantized graph.
    kind : Conv, Gemm or MatMul.
    weight : the initialisers that store its weight.
    bias : name of its float bias; "" for none.
    wanted : its output in the float graph, before any activation function.
    given : its input in the quantized graph.
    limits : bounds of a ReLU or Clip that follows the layer.
    attributes : attributes of the node.
    """

    node: str
    kind: str
    weight: Stored
    bias: str
    wanted: str
    given: str
    limits: tuple[float, float]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> int:
        """The number of groups of a convolution; 1 for other layers."""
        return int(self.attributes.get("group", 1))

    def as_rows(self, weight: Tensor) -> Tensor:
        """A weight as (groups, outputs of a group, inputs of a group)."""
        if self.kind == "Conv":
            return weight.reshape(self.groups, weight.shape[0] // self.groups, -1)
        transposed = self.kind == "Gemm" and self.attributes.get("transB", 0)
        return (weight if transposed else weight.T).unsqueeze(0)

    def from_rows(self, rows: Tensor, like: Tensor) -> Tensor:
        """The inverse of `as_rows`: a weight in the shape of `like`."""
        if self.kind == "Conv":
            return rows.reshape(like.shape)
        transposed = self.kind == "Gemm" and self.attributes.get("transB", 0)
        return rows[0] if transposed else rows[0].T.contiguous()


def find_layers(
    source: Graph, quantized: Graph, roles: Roles
) -> tuple[list[WeightedLayer], list[str]]:
    """The layers in the order in which they run, and the weights that can't be optimised.

    The latter are weights that several nodes read, and weights of convolutions that aren't
    two-dimensional, of transposed convolutions, and of Gemm with alpha or transA.
    """
    by_output = {weight.output: weight for weight in roles.weights}
    layers: list[WeightedLayer] = []
    for node in quantized.nodes:
        weight = by_output.get(node.input[1]) if len(node.input) > 1 else None
        floating = source.named(node.name)
        if weight is None or floating is None or len(quantized.readers(weight.output)) > 1:
            continue
        after = [*source.readers(floating.output[0]), *quantized.readers(floating.output[0])]
        layer = _layer(node, floating, weight, after)
        if _fits(layer, len(quantized.initializers[weight.integers].dims)):
            layers.append(layer)
    found = {layer.weight.name for layer in layers}
    return layers, [weight.name for weight in roles.weights if weight.name not in found]


def _layer(
    node: onnx.NodeProto,
    wanted: onnx.NodeProto,
    weight: Stored,
    after: Sequence[onnx.NodeProto],
) -> WeightedLayer:
    follows = after[0].op_type if len(after) == 1 else ""
    limits = (float("-inf"), float("inf"))
    if follows in _ACTIVATIONS:
        limits = (0.0, float("inf"))
    return WeightedLayer(
        node=node.name,
        kind=node.op_type,
        weight=weight,
        bias=wanted.input[2] if len(wanted.input) > 2 else "",
        wanted=wanted.output[0],
        given=node.input[0],
        limits=limits,
        attributes=attributes(node),
    )


def _fits(layer: WeightedLayer, rank: int) -> bool:
    if layer.kind == "Conv":
        return rank == 4 and layer.attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    plain = layer.attributes.get("alpha", 1.0) == 1 and not layer.attributes.get("transA", 0)
    return layer.kind in ("Gemm", "MatMul") and rank == 2 and plain


def sample_rows(
    layer: WeightedLayer,
    given: Tensor,
    wanted: Tensor,
    *,
    kernel: Sequence[int],
    count: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Inputs and wanted outputs at random places of one batch.

    Parameters
    ----------
    given : the layer's input in the quantized graph.
    wanted : its output in the float graph.
    kernel : height and width of a convolution's kernel.
    count : the largest number of places.

    Returns
    -------
    (rows, groups, inputs of a group) and (rows, groups, outputs of a group).
    """
    if layer.kind != "Conv":
        x, y = given.reshape(-1, given.shape[-1]), wanted.reshape(-1, wanted.shape[-1])
        kept = torch.randperm(len(x), generator=generator)[:count]
        return x[kept].unsqueeze(1), y[kept].unsqueeze(1)
    samples, _, height, width = wanted.shape
    places = torch.randperm(samples * height * width, generator=generator)[:count]
    sample, place = places // (height * width), places % (height * width)
    row, column = place // width, place % width
    y = wanted[sample, :, row, column].reshape(len(places), layer.groups, -1)
    x, pads = padded(given, {"pads": layer.attributes.get("pads", [0] * 4)})
    x = F.pad(x, (pads[1], pads[1], pads[0], pads[0]))
    rows, columns = (
        start[:, None] * stride + torch.arange(extent) * dilation
        for start, stride, extent, dilation in zip(
            (row, column),
            layer.attributes.get("strides", (1, 1)),
            kernel,
            layer.attributes.get("dilations", (1, 1)),
            strict=True,
        )
    )
    patches = x[sample[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    patches = patches.permute(0, 3, 1, 2)  # indices around a slice move its axis to the end
    return patches.reshape(len(places), layer.groups, -1), y
