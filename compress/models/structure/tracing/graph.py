"""The graph of a run: layers, tensors and operations, followed in both directions."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from torch import nn

from compress.models.structure.tracing.layers import Port
from compress.models.structure.tracing.operations import (
    ATTENTION,
    MATMULS,
    AxisStep,
    Blocked,
    Operation,
    backwards,
    forwards,
    is_spread,
    operation_name,
    parts,
)
from compress.models.structure.tracing.tape import LayerCall, Tape, TensorRef

OUTPUT = "they make the model's output"
INPUT = "the model's inputs have as many"


class TensorDim(NamedTuple):
    """A dimension of a tensor of the run."""

    tensor: TensorRef
    axis: int


Node = Port | TensorDim
"""A dimension whose positions are followed."""
Pairs = Sequence[tuple[int, int]] | None
"""Pairs (position here, position there); None: the positions are the same."""
Onward = tuple[Node, Pairs] | Blocked


class RunGraph:
    """Leads from each dimension of a run to the connected ones.

    Parameters
    ----------
    known : the nodes that have been reached so far; it grows outside of this class.
    """

    def __init__(self, tape: Tape, *, known: Container[Node]) -> None:
        self._known = known
        self._output = tape.output
        self._inputs = {id(value) for value in tape.inputs}
        self._calls: dict[Port, list[LayerCall]] = {}
        self._readers: dict[TensorRef, list[LayerCall]] = {}
        self._makers: dict[Any, LayerCall] = {}
        for call in tape.calls:
            self._makers[call.made.function] = call
            if call.given is not None:
                self._readers.setdefault(call.given, []).append(call)
            for port in call.ports:
                self._calls.setdefault(port, []).append(call)
        self._tied = _tied(self._calls)
        self._users: dict[TensorRef, list[tuple[Any, int]]] = {}
        for function in tape.operations:
            for number, source in enumerate(_sources(function)):
                if source is not None:
                    self._users.setdefault(source, []).append((function, number))
        self._names = _names_of_weights(tape)
        self._live = self._find_live(tape)

    def channels(self, port: Port) -> int:
        call = self._calls[port][0]
        return (call.made if port.makes else call.given or call.made).shape[port.axis]

    def parts(self, dim: TensorDim) -> list[int]:
        """The numbers of equal parts, above one, into which operations split a dimension."""
        many = {
            parts(_operation(function, number, 0), dim.axis)
            for function, number in self._users.get(dim.tensor, [])
        }
        return sorted(many - {1})

    def multiplies(self, dim: TensorDim) -> bool:
        """Return whether a tensor is multiplied with another that was also computed from inputs."""
        names = (operation_name(function) for function, _ in self._users.get(dim.tensor, []))
        return any(name == "Bmm" or name.startswith(ATTENTION) for name in names)

    def onward(self, key: Node) -> Iterator[Onward]:
        """Yield the nodes that continue a dimension's positions, in both directions of the run."""
        if isinstance(key, Port):
            yield from self._beyond(key)
            return
        if key.tensor == self._output:
            yield OUTPUT
        if id(key.tensor.leaf) in self._inputs:
            yield INPUT
        for call in self._readers.get(key.tensor, []):
            yield self._through(call, key, reads=True)
        for function, number in self._users.get(key.tensor, []):
            yield from self._forwards(function, number, key.axis)
        yield from self._made_by(key)

    def _beyond(self, port: Port) -> Iterator[Onward]:
        """Yield the tensors that a layer's side reads or makes, and sides with the same weights."""
        if port.reason is not None:
            yield port.reason
        if any(call.computed for call in self._calls[port]):
            yield f"{type(port.layer).__name__} computes its weights anew in each call"
        yield from ((other, None) for other in self._tied[port])
        for call in self._calls[port]:
            for read, tensor in ((port.reads, call.given), (port.makes, call.made)):
                if read and tensor is not None:
                    yield TensorDim(tensor, port.axis % len(tensor.shape)), None

    def _through(self, call: LayerCall, dim: TensorDim, *, reads: bool) -> Onward:
        """The side of a layer that a dimension enters, or the dimension beyond the layer."""
        for port in call.ports:
            sides = port.reads if reads else port.makes
            if sides and port.axis % len(dim.tensor.shape) == dim.axis:
                return port, None
        other = call.made if reads else call.given
        if other is not None and all(port.apart for port in call.ports):
            return TensorDim(other, dim.axis), None
        return f"{type(call.ports[0].layer).__name__} runs over them"

    def _forwards(self, function: Any, number: int, axis: int) -> Iterator[Onward]:
        refused = self._refused(function)
        if refused is not None:
            yield refused
            return
        for result in range(len(function._input_metadata)):
            step = forwards(_operation(function, number, result), axis)
            if isinstance(step, str):
                yield step
            elif step is not None:
                yield TensorDim(TensorRef(function, result), step.axis), step.pairs

    def _made_by(self, dim: TensorDim) -> Iterator[Onward]:
        function = dim.tensor.function
        if function in self._makers:
            yield self._through(self._makers[function], dim, reads=False)
            return
        if dim.tensor.leaf is not None:
            return
        refused = self._refused(function)
        if refused is not None:
            yield refused
            return
        for number, source in enumerate(_sources(function)):
            if source is None:
                continue
            found = backwards(_operation(function, number, dim.tensor.number), dim.axis)
            if isinstance(found, str):
                yield found
                continue
            dims = [(TensorDim(source, own), _reversed(step)) for own, step in found]
            # If several dimensions fit, it is the one that led here.
            came = [onward for onward in dims if onward[0] in self._known]
            yield from (came or dims)[:1]

    def _refused(self, function: Any) -> Blocked | None:
        """The reason if an operation has weights and belongs to no known layer, else None."""
        name = operation_name(function)
        made = TensorRef(function, 0).shape
        weights = [
            source
            for source in _sources(function)
            if source is not None
            and source.function not in self._live
            and (name in MATMULS or not is_spread(name, source.shape, made))
        ]
        if weights:
            largest = max(weights, key=lambda source: prod(source.shape))
            return self._names(largest.function, name)
        return f"{name} mixes them" if name in MATMULS - {"Bmm"} else None

    def _find_live(self, tape: Tape) -> set[Any]:
        """The operations whose results depend on more than parameters and buffers."""
        waiting = [TensorRef(call.made.function, call.made.number) for call in tape.calls]
        waiting += [made for made in self._users if id(made.leaf) in self._inputs]
        live = {made.function for made in waiting}
        while waiting:
            for function, _ in self._users.get(waiting.pop(), []):
                if function not in live:
                    live.add(function)
                    many = len(function._input_metadata)
                    waiting += [TensorRef(function, number) for number in range(many)]
        return live


def _tied(ports: Iterable[Port]) -> dict[Port, list[Port]]:
    """For each port, the other ports that share a dimension of a tensor with it."""
    owners: dict[tuple[int, int], list[Port]] = {}
    for port in ports:
        for place in port.places:
            tensor = getattr(port.layer, place.tensor)
            owners.setdefault((id(tensor), place.dim), []).append(port)
    found: dict[Port, list[Port]] = {port: [] for port in ports}
    for sharing in owners.values():
        for port in sharing:
            found[port] += [other for other in sharing if other is not port]
    return found


def _names_of_weights(tape: Tape) -> Callable[[Any, str], str]:
    """A function that says whose weight an operation of this name uses."""
    leaves = tape.leaves()

    def named(function: Any, operation: str) -> str:
        while not hasattr(function, "variable"):
            function = next(source for source, _ in function.next_functions if source is not None)
        path, name = leaves[id(function.variable)]
        owner = tape.module.get_submodule(path)
        around = (owner, tape.module.get_submodule(path.rpartition(".")[0]))
        if any(isinstance(part, nn.MultiheadAttention) for part in around):
            return "nn.MultiheadAttention reads them or adds to them, and keeps its width"
        return (
            f"{path or 'the model'} ({type(owner).__name__}) uses its {name!r} on them by "
            f"{operation}, which isn't a known layer's"
        )

    return named


def _sources(function: Any) -> list[TensorRef | None]:
    return [
        None if source is None else TensorRef(source, number)
        for source, number in getattr(function, "next_functions", ())
    ]


def _operation(function: Any, number: int, result: int) -> Operation:
    sizes = [None if source is None else source.shape for source in _sources(function)]
    return Operation(function, sizes, number, result)


def _reversed(step: AxisStep) -> Pairs:
    return None if step.pairs is None else [(after, before) for before, after in step.pairs]
