"""Which operators a module runs, and which they become when units are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress.measurement.macs.aten import Matmul
from compress.pruning.cost.latency.operators import Attended, Convolved, Multiplied, Operator
from compress.pruning.cost.model import CostModel


@dataclass(frozen=True)
class TimedLayer:
    """One call of a layer whose widths can change.

    Attributes
    ----------
    operator : at full width.
    weight : name of its weight; of an attention, its path.
    dims : of the weight, the dimensions of the operator's two sizes; of an attention None.
    """

    operator: Operator
    weight: str
    dims: tuple[int, int] | None

    def after(self, model: CostModel, counts: Sequence[int]) -> Operator:
        """The operator that it becomes after cutting `counts[g]` units of group g."""
        first, second = self.operator.sizes
        if self.dims is None:
            return self.operator.resized(
                model.scaled(first, self.weight, counts, kind="heads"),
                model.scaled(second, self.weight, counts, kind="head_width"),
            )
        whole, left = model.shapes[self.weight], model.shape(self.weight, counts)
        one, other = self.dims
        return self.operator.resized(
            first * left[one] // whole[one], second * left[other] // whole[other]
        )


def changing_layers(model: CostModel, *, batch_size: int) -> tuple[list[TimedLayer], list[str]]:
    """Every call of a layer of which a part can go; and names of those no operator is known for.

    Parameters
    ----------
    model : counted on inputs of `batch_size` samples.
    """
    layers: list[TimedLayer] = []
    unknown: list[str] = []
    for name in model.changing:
        for matmul in model.matmuls.layers.get(name, ()):
            layer = _layer(name, matmul)
            if layer is None:
                unknown.append(name)
            else:
                layers.append(layer)
    for path, matmuls in model.matmuls.attentions.items():
        # The first of two is queries with keys, the other scores with values.
        layers += [TimedLayer(_attended(each, batch_size), path, None) for each in matmuls[::2]]
    return layers, list(dict.fromkeys(unknown))


def _layer(name: str, matmul: Matmul) -> TimedLayer | None:
    given, weight = matmul.shapes
    numbers = matmul.convolution
    if numbers is not None:
        depthwise = 1 < numbers.groups == given[1]
        made, read = (1, 0) if numbers.transposed else (0, 1)
        sizes = {made: weight[made], read: weight[read]}
        # The weight has one dimension of all channels, and one of those of a convolution group.
        sizes[0] //= numbers.groups
        if depthwise:
            operator = Convolved(
                (numbers.groups, weight[0] // numbers.groups if made == 0 else weight[1]),
                given[0],
                given[2:],
                weight[2:],
                numbers,
                True,
            )
            return TimedLayer(operator, name, (0, 1))
        operator = Convolved(
            (sizes[read], sizes[made]), given[0], given[2:], weight[2:], numbers, False
        )
        return TimedLayer(operator, name, (read, made))
    if len(given) == len(weight) == 2:
        linear = Multiplied((weight[0], weight[1]), given[0], matmul.activation)
        return TimedLayer(linear, name, (1, 0) if matmul.flipped else (0, 1))
    return None


def _attended(matmul: Matmul, batch_size: int) -> Attended:
    (every, queries, width), (_, _, keys) = matmul.shapes
    return Attended((every // batch_size, width), batch_size, queries, keys)
