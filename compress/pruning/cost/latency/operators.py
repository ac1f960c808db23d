"""Single layers as ONNX models, to be timed alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Protocol, Self

from compress.measurement.macs.aten import Convolution, Sizes
from compress.pruning.cost.latency.graph import OperatorGraph

if TYPE_CHECKING:
    from onnx import ModelProto

_REPEATED = 20_000_000
"""MACs below which a model holds the layer several times, as a call itself takes microseconds."""
_TIMES = 4


class Operator(Protocol):
    """A layer of given widths.

    Attributes
    ----------
    sizes : the two widths that cutting may change.
    """

    @property
    def sizes(self) -> tuple[int, int]: ...

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a call."""
        ...

    @property
    def weights(self) -> int:
        """Elements of its weights."""
        ...

    @property
    def inputs(self) -> tuple[Sizes, ...]:
        """Shapes of what it takes."""
        ...

    def resized(self, first: int, second: int) -> Self:
        """The same with other widths."""
        ...

    def add_to(self, graph: OperatorGraph, inputs: list[str]) -> str:
        """Add its nodes to a graph; returns a small output, which costs nothing to hand out."""
        ...


@dataclass(frozen=True)
class Convolved:
    """A convolution; of activations it has none, as the runtime fuses them.

    Attributes
    ----------
    sizes : input and output channels of one convolution group; of a depthwise convolution all input
        channels, and the output channels of each.
    batch, space : the input is (batch, channels, *space).
    kernel : spatial sizes of the weight.
    depthwise : whether each input channel is a convolution group.
    """

    sizes: tuple[int, int]
    batch: int
    space: Sizes
    kernel: Sizes
    numbers: Convolution
    depthwise: bool

    @property
    def weights(self) -> int:
        return prod(self._weight)

    @property
    def macs(self) -> int:
        positions = prod(self.space)
        if not self.numbers.transposed:
            positions //= prod(self.numbers.stride)
        return self.weights * self.batch * positions

    @property
    def inputs(self) -> tuple[Sizes, ...]:
        given = self.sizes[0] if self.depthwise else self.sizes[0] * self._groups
        return ((self.batch, given, *self.space),)

    @property
    def _groups(self) -> int:
        return self.sizes[0] if self.depthwise else self.numbers.groups

    @property
    def _weight(self) -> Sizes:
        given, made = (1, self.sizes[1]) if self.depthwise else self.sizes
        if self.numbers.transposed:
            return (given * self._groups, made, *self.kernel)
        return (made * self._groups, given, *self.kernel)

    def resized(self, first: int, second: int) -> Convolved:
        """See `Operator.resized`."""
        return replace(self, sizes=(first, second))

    def add_to(self, graph: OperatorGraph, inputs: list[str]) -> str:
        """See `Operator.add_to`. The runtime's own layout of channels reaches into the pooling."""
        numbers = self.numbers
        settings: dict[str, Any] = {
            "group": self._groups,
            "strides": numbers.stride,
            "pads": numbers.padding * 2,
            "dilations": numbers.dilation,
        }
        if numbers.transposed:
            settings["output_padding"] = numbers.output_padding
        weights = [graph.weight(self._weight), graph.weight((self.sizes[1] * self._groups,))]
        kind = "ConvTranspose" if numbers.transposed else "Conv"
        made = graph.node(kind, [inputs[0], *weights], **settings)
        return graph.node("GlobalMaxPool", [made])


@dataclass(frozen=True)
class Multiplied:
    """A linear layer from `sizes[0]` to `sizes[1]`, with a bias.

    Attributes
    ----------
    rows : vectors in a call.
    activation : what follows: "gelu", "silu".
    """

    sizes: tuple[int, int]
    rows: int
    activation: str | None

    @property
    def weights(self) -> int:
        return prod(self.sizes)

    @property
    def macs(self) -> int:
        return self.rows * prod(self.sizes)

    @property
    def inputs(self) -> tuple[Sizes, ...]:
        return ((self.rows, self.sizes[0]),)

    def resized(self, first: int, second: int) -> Multiplied:
        """See `Operator.resized`."""
        return replace(self, sizes=(first, second))

    def add_to(self, graph: OperatorGraph, inputs: list[str]) -> str:
        """See `Operator.add_to`."""
        made = graph.node("MatMul", [inputs[0], graph.weight(self.sizes)])
        made = graph.node("Add", [made, graph.weight((self.sizes[1],))])
        if self.activation == "gelu":
            made = graph.node("Gelu", [made])
        elif self.activation == "silu":
            made = graph.node("Mul", [made, graph.node("Sigmoid", [made])])
        return graph.node("Shape", [made])


@dataclass(frozen=True)
class Attended:
    """The two products of an attention of `sizes` heads and width of a head, and the softmax.

    Attributes
    ----------
    batch, queries, keys : samples, and positions of queries and of keys and values.
    """

    sizes: tuple[int, int]
    batch: int
    queries: int
    keys: int

    @property
    def weights(self) -> int:
        return 0

    @property
    def macs(self) -> int:
        return 2 * self.batch * self.queries * self.keys * prod(self.sizes)

    @property
    def inputs(self) -> tuple[Sizes, ...]:
        given = (self.batch, self.keys, prod(self.sizes))
        mask = (self.batch, 1, self.queries, self.keys)
        return ((self.batch, self.queries, prod(self.sizes)), given, given, mask)

    def resized(self, first: int, second: int) -> Attended:
        """See `Operator.resized`."""
        return replace(self, sizes=(first, second))

    def add_to(self, graph: OperatorGraph, inputs: list[str]) -> str:
        """See `Operator.add_to`. Splitting into heads is part of it: it copies."""
        heads, width = self.sizes
        query, key, value = (
            graph.node("Reshape", [name, graph.numbers(-1, length, heads, width)])
            for name, length in zip(inputs, (self.queries, self.keys, self.keys), strict=False)
        )
        query = graph.node("Transpose", [query], perm=[0, 2, 1, 3])
        key = graph.node("Transpose", [key], perm=[0, 2, 3, 1])
        value = graph.node("Transpose", [value], perm=[0, 2, 1, 3])
        scores = graph.node("Mul", [graph.node("MatMul", [query, key]), graph.weight((1,))])
        scores = graph.node("Softmax", [graph.node("Add", [scores, inputs[3]])], axis=-1)
        made = graph.node("MatMul", [scores, value])
        made = graph.node("Transpose", [made], perm=[0, 2, 1, 3])
        made = graph.node("Reshape", [made, graph.numbers(-1, self.queries, heads * width)])
        return graph.node("Shape", [made])


@dataclass(frozen=True)
class Nothing:
    """An operator that does nothing: what a call takes."""

    sizes: tuple[int, int] = (1, 1)
    macs: int = 0
    weights: int = 0
    inputs: tuple[Sizes, ...] = ((1, 1),)

    def resized(self, first: int, second: int) -> Nothing:
        """See `Operator.resized`."""
        return self

    def add_to(self, graph: OperatorGraph, inputs: list[str]) -> str:
        """See `Operator.add_to`."""
        return graph.node("Shape", [inputs[0]])


def times_in_a_model(operator: Operator) -> int:
    """How often a model that is timed holds an operator."""
    return _TIMES if 0 < operator.macs < _REPEATED else 1


def operator_model(operator: Operator, *, prefix: str) -> tuple[ModelProto, dict[str, Sizes]]:
    """A model that holds an operator `times_in_a_model`, and its inputs' shapes by name.

    Parameters
    ----------
    prefix : of the inputs' names.
    """
    graph = OperatorGraph()
    inputs = {f"{prefix}_{n}": shape for n, shape in enumerate(operator.inputs)}
    outputs = [operator.add_to(graph, list(inputs)) for _ in range(times_in_a_model(operator))]
    return graph.model(inputs, outputs), inputs
