"""The places of a layer's channels: in its tensors, its input and its output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

from compress.models.structure.normalization import normalizes

_STATISTICS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class ChannelDim:
    """A dimension of a layer's tensor that has one entry for each channel.

    Attributes
    ----------
    period : number of channels of one group, if all groups of a convolution share the dimension.
    """

    tensor: str
    dim: int
    period: int | None = None


@dataclass(frozen=True, eq=False)
class Port:
    """A side of a layer with channels: its input, its output, or both if they have the same ones.

    Attributes
    ----------
    axis : the channels' dimension in the input or output; a negative one counts from the end.
    blocks : number of equal blocks of neighbouring channels, which must all keep equally many.
    attribute : name of the layer's number of channels, if no tensor has it as its size.
    reason : why its channels can't be cut; None if they can.
    apart : whether the layer treats the entries of all other dimensions separately.
    """

    path: str
    layer: nn.Module
    axis: int
    reads: bool
    makes: bool
    places: Sequence[ChannelDim] = ()
    blocks: int = 1
    attribute: str | None = None
    reason: str | None = None
    apart: bool = False

    @property
    def begins(self) -> bool:
        """True if new channels begin here."""
        return self.makes and not self.reads


def ports_of(layer: nn.Module, path: str) -> tuple[Port, ...]:
    """The sides of a known layer; empty for all others."""
    match layer:
        case _ConvNd():
            return _convolution(layer, path)
        case nn.Linear():
            rows = _there(layer, ("weight", 0), ("bias", 0))
            own = _own(layer)
            return (
                Port(
                    path, layer, -1, True, False, [ChannelDim("weight", 1)], reason=own, apart=True
                ),
                Port(path, layer, -1, False, True, rows, reason=own, apart=True),
            )
        case nn.Embedding():
            columns = [ChannelDim("weight", 1)]
            return (Port(path, layer, -1, False, True, columns, reason=_own(layer)),)
        case nn.PReLU():
            entries = [ChannelDim("weight", 0)] if layer.num_parameters > 1 else []
            return (Port(path, layer, 1, True, True, entries, apart=True),)
        case nn.RNNBase():
            return _recurrent(layer, path)
    port = _normalization(layer, path)
    return () if port is None else (port,)


def _normalization(layer: nn.Module, path: str) -> Port | None:
    """The single side of a normalisation; None for any other layer."""
    match layer:
        case _BatchNorm() | _InstanceNorm():
            entries = _there(layer, *((name, 0) for name in _STATISTICS))
            number = None if entries else "num_features"
            apart = isinstance(layer, _BatchNorm)
            return Port(path, layer, 1, True, True, entries, attribute=number, apart=apart)
        case nn.GroupNorm():
            return _group_norm(layer, path)
        case nn.LayerNorm() if not _plain(layer):
            said = f"{type(layer).__name__} may normalise over any dimension"
            return Port(path, layer, -1, True, True, reason=said)
        case _ if normalizes(layer):
            entries = _there(layer, ("weight", 0), ("bias", 0))
            first = getattr(layer, "data_format", None) == "channels_first"
            return Port(path, layer, 1 if first else -1, True, True, entries, apart=True)
        case nn.LayerNorm() | nn.RMSNorm():
            said = f"{type(layer).__name__} reads them without weights, or over several dimensions"
            return Port(path, layer, -1, True, True, reason=said)
    return None


def _convolution(layer: _ConvNd, path: str) -> tuple[Port, ...]:
    axis = -1 - len(layer.kernel_size)
    reason = _own(layer)
    groups, transposed = layer.groups, isinstance(layer, _ConvTransposeNd)
    rows, columns = (1, 0) if transposed else (0, 1)
    if 1 < groups == layer.in_channels == layer.out_channels:
        entries = _there(layer, ("weight", 0), ("bias", 0))
        return (Port(path, layer, axis, True, True, entries, reason=reason),)

    def place(dim: int, channels: int) -> ChannelDim:
        # The second dimension of a grouped convolution's weight has the channels of one group.
        return ChannelDim("weight", dim, channels // groups if dim == 1 and groups > 1 else None)

    read, made = place(columns, layer.in_channels), place(rows, layer.out_channels)
    return (
        Port(path, layer, axis, True, False, [read], groups, reason=reason),
        Port(
            path,
            layer,
            axis,
            False,
            True,
            [made, *_there(layer, ("bias", 0))],
            groups,
            reason=reason,
        ),
    )


def _recurrent(layer: nn.RNNBase, path: str) -> tuple[Port, ...]:
    """What it reads at each step; its states, which it also begins with."""
    ends = ("", "_reverse") if layer.bidirectional else ("",)
    columns = _there(layer, *((f"weight_ih_l0{end}", 1) for end in ends))
    name = type(layer).__name__
    reason = f"{name} {path} computes each of its states from all of them"
    return (
        Port(path, layer, -1, True, False, columns),
        Port(path, layer, -1, False, True, reason=reason),
    )


def _group_norm(layer: nn.GroupNorm, path: str) -> Port:
    entries = _there(layer, ("weight", 0), ("bias", 0))
    alone = layer.num_groups == layer.num_channels  # each channel is a group
    reason = None if entries else "GroupNorm reads them without weights"
    blocks = 1 if alone else layer.num_groups
    return Port(path, layer, 1, True, True, entries, blocks, reason=reason)


def _there(layer: nn.Module, *places: tuple[str, int]) -> list[ChannelDim]:
    return [ChannelDim(name, dim) for name, dim in places if getattr(layer, name, None) is not None]


def _plain(layer: nn.LayerNorm) -> bool:
    """Return whether the dimension that a layer normalises is known."""
    return type(layer).forward is nn.LayerNorm.forward or hasattr(layer, "data_format")


def _own(layer: nn.Module) -> str | None:
    """The reason if a layer's weight can't be cut as it is computed from others, else None."""
    if "weight" in layer._parameters:
        return None
    return f"the weight of {type(layer).__name__} is computed from other tensors"
