"""Follows channels through a run, to find the positions of tensors that are cut together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from compress.models.structure.tracing.graph import Node, Pairs, RunGraph
from compress.models.structure.tracing.layers import Port
from compress.models.structure.tracing.operations import Blocked
from compress.models.structure.tracing.tape import Tape


class Leaf(NamedTuple):
    """A dimension of a parameter or buffer outside of the known layers."""

    path: str
    name: str
    dim: int


@dataclass(frozen=True, eq=False)
class Parts:
    """An operation that splits a dimension into parts of equal width."""

    blocks: int
    size: int


class MultipliedActivations:
    """A matmul of activations with activations that treats each position by itself."""


Holder = Port | Leaf | Parts | MultipliedActivations
"""A holder of positions: its parts are cut, or the cut must suit it."""


class ChannelLabels:
    """Gives every position a label. Positions that are cut together get the same one."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._labels: dict[Node, dict[int, int]] = {}
        self._graph = RunGraph(tape, known=self._labels)
        self._parents: list[int] = []
        self._blocked: dict[int, Blocked] = {}

    def spread(self, port: Port) -> Iterator[None]:
        """Follow the channels that a layer makes, as far as anything depends on them.

        It yields at every step, so that the caller can stop it.
        """
        known = self._labels.setdefault(port, {})
        fresh = [i for i in range(self._graph.channels(port)) if i not in known]
        for i in fresh:
            known[i] = self._new()
        waiting: list[tuple[Node, list[int]]] = [(port, fresh)]
        while waiting:
            yield
            key, positions = waiting.pop()
            for onward in self._graph.onward(key):
                if isinstance(onward, str):
                    for i in positions:
                        self._blocked.setdefault(self.find(self._labels[key][i]), onward)
                    continue
                target, pairs = onward
                found = self._carry(key, positions, target, pairs)
                if found:
                    waiting.append((target, found))

    def _carry(self, key: Node, positions: Sequence[int], target: Node, pairs: Pairs) -> list[int]:
        """Give labels to the target, and return its positions that had none."""
        own, others = self._labels[key], self._labels.setdefault(target, {})
        if pairs is None:
            pairs = [(i, i) for i in positions]
        else:
            wanted = set(positions)
            pairs = [pair for pair in pairs if pair[0] in wanted]
        found = []
        for i, j in pairs:
            if j not in others:
                others[j] = own[i]
                found.append(j)
            else:
                self._join(own[i], others[j])
        return found

    def _new(self) -> int:
        self._parents.append(len(self._parents))
        return len(self._parents) - 1

    def find(self, label: int) -> int:
        """The representative of all labels that were joined with this one."""
        while self._parents[label] != label:
            self._parents[label] = self._parents[self._parents[label]]
            label = self._parents[label]
        return label

    def _join(self, one: int, other: int) -> None:
        one, other = sorted((self.find(one), self.find(other)))
        if one != other:
            self._parents[other] = one
            if other in self._blocked:
                self._blocked.setdefault(one, self._blocked.pop(other))

    def blocked(self, label: int) -> Blocked | None:
        """The reason why the positions of a label can't be cut, or None."""
        return self._blocked.get(label)

    def channels(self, port: Port) -> int:
        """Number of channels of a port."""
        return self._graph.channels(port)

    def holders(self) -> Iterator[tuple[Holder, dict[int, int]]]:
        """Yield all holders that were reached, with the label of each position."""
        leaves = self._tape.leaves()
        for key, labels in self._labels.items():
            joined = {i: self.find(label) for i, label in labels.items()}
            if isinstance(key, Port):
                yield key, joined
                continue
            for blocks in self._graph.parts(key):
                yield Parts(blocks, key.tensor.shape[key.axis]), joined
            if self._graph.multiplies(key):
                yield MultipliedActivations(), joined
            if id(key.tensor.leaf) in leaves:
                path, name = leaves[id(key.tensor.leaf)]
                yield Leaf(path, name, key.axis), joined
