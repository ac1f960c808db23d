"""Rounds a float model's weights onto their 8-bit grid so that answers change least.

The result is a float file whose weights lie on the grid that the quantizer will choose, so that the
quantizer changes none of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from compress.core.batch import model_inputs
from compress.core.progress import Progress, Silent
from compress.errors import StageError
from compress.onnx_graph.files import load_model
from compress.onnx_graph.graph import Graph
from compress.quantization.adaround.layers import WeightedLayer, find_layers, sample_rows
from compress.quantization.adaround.relaxation import Grid, Rounded, Rows, optimize_layer
from compress.quantization.calibration.ranges import Range
from compress.quantization.integers import Integers
from compress.quantization.onnx_torch.fake_quantization import along
from compress.quantization.onnx_torch.module import GraphModule
from compress.quantization.qat.roles import find_roles
from compress.quantization.static import quantize_static
from compress.quantization.write import write

if TYPE_CHECKING:
    from compress.core.context import Batch
    from compress.quantization.selection import Selection

STEPS = 500
_SAMPLES = 256
"""Number of samples whose inputs are kept, up to the end of a batch."""
_ROWS = 2048
"""About the number of places at which a layer's inputs and outputs are sampled."""
_SEED = 0


class _Graphs(NamedTuple):
    """The float graph, and the quantized graph with the weights rounded so far."""

    floating: GraphModule
    quantized: GraphModule


def optimize_rounding(  # noqa: PLR0913 (each is read by name)
    source: Path,
    *,
    path: Path,
    selection: Selection,
    ranges: Mapping[str, Range],
    integers: Integers,
    batches: Iterable[Batch],
    per_channel: bool = True,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write a float model whose weights are rounded so that the layers' outputs change least.

    The method is AdaRound (Nagel et al., ICML 2020, arXiv:2004.10568). Each layer gets the inputs
    that the graph quantized so far computes, and should give the outputs of the float graph. The
    largest weight of a channel stays, because it determines the channel's scale. A layer that
    does no better on held-out places than with the nearest integers keeps those.

    Parameters
    ----------
    source : the float model.
    path : the file to write.
    selection, ranges, integers, per_channel : the arguments that `quantize_static` will get.
    batches : samples; the first 256 are used.
    steps : number of steps of Adam for each layer.

    Returns
    -------
    Notes that tell how many layers were rounded anew, and by how much their errors fell.

    Raises
    ------
    StageError : there are no batches, or an operator can't be run as a torch module.
    """
    graph = Graph(load_model(source))
    quantized = _quantized(
        source, selection=selection, ranges=ranges, integers=integers, per_channel=per_channel
    )
    kept = _inputs(batches)
    layers, left = find_layers(graph, quantized, find_roles(quantized))
    graphs = _Graphs(GraphModule(graph, trained=()), GraphModule(quantized, trained=()))
    generator = torch.Generator().manual_seed(_SEED)
    outcomes: dict[str, Rounded] = {}
    weights: dict[str, Tensor] = {}
    with (progress or Silent()).track("round weights", len(layers)) as advance:
        for layer in layers:
            rows = _rows(layer, graphs, kept, generator)
            grid = _grid(layer, graphs)
            found = optimize_layer(grid, rows, iterations=steps, generator=generator)
            outcomes[layer.weight.name] = found
            weights[layer.weight.name] = _settle(layer, graphs, grid, found)
            advance()
    for name, weight in weights.items():
        graph.set_initializer(name, weight.numpy())
    write(graph.model, path=path, source=source)
    return _notes(outcomes, left)


def _inputs(batches: Iterable[Batch]) -> list[list[Tensor]]:
    """The inputs of the first batches."""
    kept: list[list[Tensor]] = []
    samples = 0
    for batch in batches:
        kept.append(list(model_inputs(batch).values()))
        samples += len(kept[-1][0])
        if samples >= _SAMPLES:
            break
    if not kept:
        raise StageError("no samples to optimise the rounding of weights on.")
    return kept


def _quantized(
    source: Path,
    *,
    selection: Selection,
    ranges: Mapping[str, Range],
    integers: Integers,
    per_channel: bool,
) -> Graph:
    with tempfile.TemporaryDirectory() as folder:
        path = quantize_static(
            source,
            path=Path(folder) / "quantized.onnx",
            selection=selection,
            ranges=ranges,
            integers=integers,
            per_channel=per_channel,
        )
        return Graph(load_model(path))


@torch.no_grad()
def _rows(
    layer: WeightedLayer,
    graphs: _Graphs,
    batches: list[list[Tensor]],
    generator: torch.Generator,
) -> Rows:
    """The layer's inputs and wanted outputs, at random places of all batches."""
    weight = graphs.floating.tensor(layer.weight.name)
    each = -(-_ROWS // len(batches))
    inputs, outputs = [], []
    for batch in batches:
        given = graphs.quantized.values(batch, (layer.given,))[layer.given]
        wanted = graphs.floating.values(batch, (layer.wanted,))[layer.wanted]
        x, y = sample_rows(
            layer, given, wanted, kernel=weight.shape[2:], count=each, generator=generator
        )
        inputs.append(x)
        outputs.append(y)
    x, y = torch.cat(inputs), torch.cat(outputs)
    order = torch.randperm(len(x), generator=generator)
    shape = (layer.groups, 1, -1)
    outputs_of_group = y.shape[-1]
    bias = torch.zeros(layer.groups, 1, outputs_of_group)
    if layer.bias:
        bias = graphs.floating.tensor(layer.bias).reshape(shape)
    return Rows(
        x[order].transpose(0, 1).contiguous(),
        y[order].transpose(0, 1).clamp(*layer.limits).contiguous(),
        bias,
        layer.limits,
    )


def _grid(layer: WeightedLayer, graphs: _Graphs) -> Grid:
    stored = layer.weight
    weight = graphs.floating.tensor(stored.name)
    scale = along(graphs.quantized.tensor(stored.scale), axis=stored.axis or 0, rank=weight.ndim)
    scale = scale.expand_as(weight)
    largest = _largest(weight, stored.axis)
    return Grid(
        steps=layer.as_rows(weight / scale),
        scale=layer.as_rows(scale),
        # The largest weight is this many steps, which may be half a step over an integer.
        limit=layer.as_rows((largest / scale + 1e-3).floor()),
        fixed=layer.as_rows(weight.abs() == largest),
    )


def _largest(weight: Tensor, axis: int | None) -> Tensor:
    others = [i for i in range(weight.ndim) if axis is None or i != axis]
    return weight.abs().amax(others, keepdim=True).expand_as(weight)


def _settle(layer: WeightedLayer, graphs: _Graphs, grid: Grid, found: Rounded) -> Tensor:
    """Put the integers into the quantized graph, and return the float weight that they mean."""
    stored = layer.weight
    before = graphs.floating.tensor(stored.name)
    integers = graphs.quantized.tensor(stored.integers)
    steps = layer.from_rows(found.steps, before)
    zero = graphs.quantized.tensor(stored.zero).float() if stored.zero else torch.zeros(())
    limits = torch.iinfo(integers.dtype)
    whole = steps + along(zero, axis=stored.axis or 0, rank=before.ndim)
    integers.copy_(whole.clamp(limits.min, limits.max).to(integers.dtype))
    largest = _largest(before, stored.axis)
    values = steps * layer.from_rows(grid.scale, before)
    values = torch.minimum(torch.maximum(values, -largest), largest)
    return torch.where(before.abs() == largest, before, values)


def _notes(outcomes: Mapping[str, Rounded], left: list[str]) -> tuple[str, ...]:
    better = [each for each in outcomes.values() if each.after < each.before]
    notes = [f"rounding optimised in {len(better)} of {len(outcomes)} layers"]
    if better:
        ratios = sorted(each.after / each.before for each in better)
        notes[0] += f": their squared errors fell to {ratios[len(ratios) // 2]:.0%} (median)"
    if left:
        notes.append(f"rounded to the nearest: {', '.join(left)}")
    return tuple(notes)
