"""Makes units of coupled channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import gcd, lcm

import torch

from compress.models.structure.groups import Attribute, Group, Slice
from compress.models.structure.tracing.labels import (
    ChannelLabels,
    Holder,
    Leaf,
    MultipliedActivations,
    Parts,
)
from compress.models.structure.tracing.layers import ChannelDim, Port
from compress.models.structure.tracing.tape import Tape

Positions = dict[Holder, list[int]]
"""All positions that are cut together with one channel."""


@dataclass(frozen=True, eq=False)
class CoupledChannels:
    """Channels that have equally many positions in the same tensors.

    Attributes
    ----------
    makers : paths of the layers that make them, in the module's order.
    channels : the channels, in the order of the first maker's.
    reason : why they can't be cut; None if they can.
    sizes : total number of channels of each of the layers' sides.
    """

    makers: tuple[str, ...]
    channels: list[Positions]
    reason: str | None
    sizes: dict[Port, int]


def coupled_channels(labels: ChannelLabels, tape: Tape) -> list[CoupledChannels]:
    """All channels that were followed, in the order of the module's layers."""
    order = {path: number for number, (path, _) in enumerate(tape.module.named_modules())}
    together: dict[int, Positions] = {}
    for holder, found in labels.holders():
        for position, label in sorted(found.items()):
            together.setdefault(label, {}).setdefault(holder, []).append(position)
    classes: dict[object, list[tuple[int, Positions]]] = {}
    for label, positions in together.items():
        counts = frozenset((holder, len(own)) for holder, own in positions.items())
        classes.setdefault((counts, labels.blocked(label)), []).append((label, positions))
    made = []
    for members in classes.values():
        ports = [holder for holder in members[0][1] if isinstance(holder, Port)]
        makers = sorted((p for p in ports if p.begins), key=lambda port: order[port.path])
        first = makers[0]
        channels = sorted((each for _, each in members), key=lambda each: each[first][0])
        made.append(
            CoupledChannels(
                tuple(port.path for port in makers),
                channels,
                labels.blocked(members[0][0]),
                {port: labels.channels(port) for port in ports},
            )
        )
    return _paired(sorted(made, key=lambda each: order[each.makers[0]]))


def _paired(found: list[CoupledChannels]) -> list[CoupledChannels]:
    """Join channels that lose equally many in every block only together: halves of a split."""
    done, waiting = [], list(found)
    while waiting:
        one = waiting.pop(0)
        cares = set(_blocked(one))
        rest = [
            other
            for other in waiting
            if other.reason is None
            and len(other.channels) == len(one.channels)
            and cares & set(_blocked(other))
        ]
        if one.reason is None and rest and isinstance(_units(one), str):
            both = _joined([one, *rest])
            if not isinstance(_units(both), str):
                one = both
                waiting = [other for other in waiting if other not in rest]
        done.append(one)
    return done


def _joined(found: Sequence[CoupledChannels]) -> CoupledChannels:
    channels = []
    for each in zip(*(one.channels for one in found), strict=True):
        together: Positions = {}
        for positions in each:
            for holder, own in positions.items():
                together[holder] = [*together.get(holder, []), *own]
        channels.append(together)
    makers = dict.fromkeys(path for one in found for path in one.makers)
    sizes = {port: size for one in found for port, size in one.sizes.items()}
    return CoupledChannels(tuple(makers), channels, None, sizes)


def _blocked(each: CoupledChannels) -> list[Port | Parts]:
    """The holders that have these channels in blocks."""
    return [h for h in each.channels[0] if isinstance(h, Port | Parts) and h.blocks > 1]


def as_group(each: CoupledChannels) -> Group | str:
    """The group, or the reason why these channels stay."""
    if each.reason is not None:
        return each.reason
    units = _units(each)
    if isinstance(units, str):
        return units
    slices: list[Slice] = []
    attributes: list[Attribute] = []
    for holder in sorted(units[0], key=_makes, reverse=True):
        rows = [unit[holder] for unit in units]
        if isinstance(holder, Leaf):
            slices.append(Slice(holder.path, holder.name, holder.dim, torch.tensor(rows)))
            continue
        if not isinstance(holder, Port):
            continue
        for place in holder.places:
            index = _index(rows, place, holder)
            if index is None:
                return f"{_named(holder)} has them at different places in its groups"
            slices.append(Slice(holder.path, place.tensor, place.dim, index))
        if holder.attribute is not None:
            if sum(len(row) for row in rows) != each.sizes[holder]:
                return f"{_named(holder)} has other channels as well, and no weights"
            attributes.append(Attribute(holder.path, holder.attribute))
    multiplied = any(isinstance(holder, MultipliedActivations) for holder in units[0])
    return Group(
        each.makers[0],
        "channels",
        len(units),
        tuple(slices),
        tuple(attributes),
        (_around(each.makers),) if multiplied else (),
    )


def _around(makers: Sequence[str]) -> str:
    """Path of the innermost module that contains all these layers."""
    steps = zip(*(path.split(".")[:-1] for path in makers), strict=False)
    return ".".join(step[0] for step in takewhile(lambda step: len(set(step)) == 1, steps))


def _units(each: CoupledChannels) -> list[Positions] | str:
    """Bundles of channels, each with equally many in every block of every layer; or a reason."""
    blocked = _blocked(each)
    total = len(each.channels)
    most = gcd(lcm(*(holder.blocks for holder in blocked)), total)
    for together in (n for n in range(1, most + 1) if most % n == 0):
        units = [
            _bundle(each.channels[first :: total // together]) for first in range(total // together)
        ]
        if all(_even(unit, holder, each.sizes) for unit in units for holder in blocked):
            if len(units) == 1 and total > 1:
                break
            return units
    said = " and ".join(f"{_named(holder)} has {holder.blocks} groups" for holder in blocked)
    return f"{said} of channels, which can't all lose equally many of these"


def _bundle(channels: Sequence[Positions]) -> Positions:
    return {holder: sorted(i for own in channels for i in own[holder]) for holder in channels[0]}


def _even(unit: Positions, holder: Port | Parts, sizes: Mapping[Port, int]) -> bool:
    size = holder.size if isinstance(holder, Parts) else sizes[holder]
    counts = Counter(position // (size // holder.blocks) for position in unit[holder])
    return len(counts) == holder.blocks and len(set(counts.values())) == 1


def _index(rows: Sequence[Sequence[int]], place: ChannelDim, port: Port) -> torch.Tensor | None:
    """(U, K) index. If the dimension is that of a single group, it is the place within a group."""
    if place.period is None:
        return torch.tensor(rows, dtype=torch.int64)
    folded = [sorted({position % place.period for position in row}) for row in rows]
    if any(len(own) * port.blocks != len(row) for own, row in zip(folded, rows, strict=True)):
        return None
    return torch.tensor(folded, dtype=torch.int64)


def _makes(holder: Holder) -> bool:
    return isinstance(holder, Port) and holder.begins


def _named(port: Port | Parts) -> str:
    if isinstance(port, Parts):
        return "a split"
    return f"{type(port.layer).__name__} {port.path}"
