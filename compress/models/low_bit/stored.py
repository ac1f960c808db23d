"""Stores bitsandbytes' layers in a checkpoint: as plain modules with the packed bytes as buffers.

bitsandbytes keeps scales in attributes of its parameters, where no skeleton can name them. Layers
are therefore stored and rebuilt through their state dicts, whose form is the same on every machine.
Some CPUs repack a 4-bit layer when it first runs, with scales rounded to bf16. Its stored bytes
would change slightly, so a model is stored before it runs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from compress.errors import ModelError
from compress.models.low_bit.layers import Bits, bitsandbytes_for, empty_layer, is_low_bit

_BLOB = "weight.quant_state.bitsandbytes__nf4"


class _Packed(nn.Module):
    """A layer's tensors as buffers, which are empty until a checkpoint fills them."""

    state: ClassVar[dict[str, str]]
    """The layer's name of each tensor, by the name of its buffer."""

    def __init__(self, in_features: int, out_features: int, bias: Tensor | None) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        for name in self.state:
            self.register_buffer(name, torch.empty(0))
        self.register_buffer("bias", None if bias is None else bias.detach())

    def fill(self, layer: nn.Module) -> _Packed:
        """Set the buffers to a layer's tensors; returns the packed layer itself."""
        given = layer.state_dict()
        for name, own in self.state.items():
            setattr(self, name, given[own])
        return self

    def layer(self) -> Any:
        """The layer of bitsandbytes."""
        raise TypeError(f"{type(self).__name__} doesn't define 'layer'.")

    def _empty(self, bits: Bits) -> Any:
        return empty_layer(self.in_features, self.out_features, bias=self.bias, bits=bits)


class Packed8(_Packed):
    """LLM.int8(): a weight (out, in) int8, and a scale for each row (out,)."""

    state: ClassVar[dict[str, str]] = {"weight": "weight", "scales": "SCB"}

    def layer(self) -> Any:
        """See `_Packed.layer`."""
        layer, weight = self._empty(8), self.weight
        layer.weight = bitsandbytes_for("this checkpoint").nn.Int8Params(
            weight, requires_grad=False, has_fp16_weights=False, CB=weight, SCB=self.scales
        )
        return layer


class Packed4(_Packed):
    """NF4: two weights in a byte; an 8-bit scale for each 64 weights, with scales of its own."""

    state: ClassVar[dict[str, str]] = {
        "weight": "weight",
        "scales": "weight.absmax",
        "levels": "weight.quant_map",
        "nested_scales": "weight.nested_absmax",
        "nested_levels": "weight.nested_quant_map",
        "settings": _BLOB,
    }

    def layer(self) -> Any:
        """See `_Packed.layer`."""
        layer = self._empty(4)
        # bitsandbytes changes the dict and the tensors that it gets, and wants names without
        # "weight.".
        stats = {
            own.removeprefix("weight."): getattr(self, name).clone()
            for name, own in self.state.items()
            if own != "weight"
        }
        weight: Any = self.weight
        layer.weight = bitsandbytes_for("this checkpoint").nn.Params4bit.from_prequantized(
            weight.clone(), stats, requires_grad=False, device="cpu", module=layer
        )
        return layer


_KINDS: dict[int, type[_Packed]] = {4: Packed4, 8: Packed8}


def put_packed(module: nn.Module, layers: Iterable[str], *, bits: Bits) -> nn.Module:
    """Replace linear layers by empty packed ones, in place; returns the module.

    Raises
    ------
    ModelError : the module has no such linear layers.
    """
    for name in layers:
        path, _, leaf = name.rpartition(".")
        try:
            linear = module.get_submodule(name)
        except AttributeError as error:
            raise ModelError(f"the model has no layer {name!r} to hold in {bits} bits.") from error
        if not isinstance(linear, nn.Linear):
            raise ModelError(f"{name!r} isn't a linear layer: it can't be held in {bits} bits.")
        packed = _KINDS[bits](linear.in_features, linear.out_features, linear.bias)
        setattr(module.get_submodule(path), leaf, packed.eval())
    return module


def packed(module: nn.Module) -> nn.Module:
    """The module with every layer of bitsandbytes packed; the module itself if it has none.

    All other tensors are shared with the module, which is left as it was.
    """
    layers = [part for part in module.modules() if is_low_bit(part)]
    if not layers:
        return module
    memo: dict[int, Any] = {id(layer): _packed(layer) for layer in layers}
    shared = [*module.parameters(), *module.buffers()]
    memo |= {id(tensor): tensor for tensor in shared}
    return copy.deepcopy(module, memo)


def unpacked(module: nn.Module) -> nn.Module:
    """Replace every packed layer by one of bitsandbytes, in place; returns the module.

    The module is for inference only afterwards.

    Raises
    ------
    StageError : bitsandbytes isn't installed.
    """
    found = [(name, part) for name, part in module.named_modules() if isinstance(part, _Packed)]
    for name, part in found:
        path, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(path), leaf, part.layer())
    return module.requires_grad_(False).eval() if found else module


def _packed(layer: Any) -> nn.Module:
    kind = _KINDS[8 if hasattr(layer, "init_8bit_state") else 4]
    made = kind(layer.in_features, layer.out_features, layer.bias)
    return made.fill(layer).eval()
