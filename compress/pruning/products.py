"""Sees what a module multiplies: by which parameter, or inside which attention."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

_BIAS_FIRST = (torch.ops.aten.addmm, torch.ops.aten.baddbmm)
_ACTIVATIONS = {torch.ops.aten.gelu: "gelu", torch.ops.aten.silu: "silu"}

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Convolution:
    """The numbers of a convolution, one for each spatial axis."""

    stride: Sizes
    padding: Sizes
    dilation: Sizes
    transposed: bool
    output_padding: Sizes
    groups: int


@dataclass(frozen=True)
class Product:
    """One product of two tensors.

    Attributes
    ----------
    macs : multiply-accumulates.
    shapes : of its two operands, such as (N * heads, S, width) and (N * heads, width, S).
    flipped : whether the second operand is the transpose of a parameter.
    convolution : its numbers, where it is one.
    activation : what comes right after it: "gelu", "silu".
    """

    macs: int
    shapes: tuple[Sizes, Sizes]
    flipped: bool = False
    convolution: Convolution | None = None
    activation: str | None = None


@dataclass(frozen=True)
class Products:
    """What one run of a module multiplied.

    Attributes
    ----------
    layers : by the (first) name of the parameter that is multiplied with, each call's product.
    attentions : by path, the products without a parameter inside an attention.
    """

    layers: Mapping[str, Sequence[Product]]
    attentions: Mapping[str, Sequence[Product]]


def multiplied(
    module: nn.Module, *, attentions: Sequence[str], task: Task, inputs: Batch
) -> Products:
    """Run a module once on the inputs, and see what it multiplies.

    Parameters
    ----------
    attentions : paths of modules whose products of activations are told apart.
    """
    seen = _Seen(module)
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        _inside(module, attentions, seen.stack),
        _Watch(seen),
    ):
        task.logits(module, inputs)
    return Products(seen.layers, {path: seen.attentions.get(path, []) for path in attentions})


@dataclass
class _Seen:
    module: nn.Module
    layers: dict[str, list[Product]] = field(default_factory=dict)
    attentions: dict[str, list[Product]] = field(default_factory=dict)
    stack: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._places = sorted(
            (parameter.data_ptr(), parameter.nbytes, name)
            for name, parameter in self.module.named_parameters()
            if parameter.numel()
        )
        self._starts = [start for start, _, _ in self._places]
        self._last: tuple[str, Tensor] | None = None

    def multiply(self, product: Product, operands: Sequence[Tensor], out: Tensor) -> None:
        """Put a product down to a parameter, else to the attention that is running."""
        self._last = None
        for operand in reversed(operands):
            name = self._name(operand)
            if name is not None:
                self.layers.setdefault(name, []).append(product)
                self._last = (name, out)
                return
        if self.stack:
            self.attentions.setdefault(self.stack[-1], []).append(product)

    def activate(self, activation: str, given: Tensor) -> None:
        """Note an activation, where it takes what the last layer made."""
        if self._last is not None and self._last[1].data_ptr() == given.data_ptr():
            calls = self.layers[self._last[0]]
            calls[-1] = replace(calls[-1], activation=activation)

    def _name(self, tensor: Tensor) -> str | None:
        """The parameter of which a tensor is a view: by its address, as views keep that."""
        position = bisect_right(self._starts, tensor.data_ptr()) - 1
        if position < 0:
            return None
        start, size, name = self._places[position]
        return name if tensor.data_ptr() < start + size else None


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands every product, with its MACs as torch counts them, to what has been seen."""

    def __init__(self, seen: _Seen) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen = seen

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in _ACTIVATIONS:
            self._seen.activate(_ACTIVATIONS[packet], args[0])
        elif packet in flop_registry:
            flops: Callable[..., int] = flop_registry[packet]
            operands = args[1:3] if packet in _BIAS_FIRST else args[:2]
            product = Product(
                macs=flops(*args, **(kwargs or {}), out_val=out) // 2,
                shapes=(tuple(operands[0].shape), tuple(operands[1].shape)),
                flipped=operands[1].dim() == 2
                and operands[1].stride()[0] < operands[1].stride()[1],
                convolution=_convolution(args) if packet is torch.ops.aten.convolution else None,
            )
            self._seen.multiply(product, operands, out)
        return out


def _convolution(args: Sequence[Any]) -> Convolution:
    """From the arguments of `aten.convolution`."""
    stride, padding, dilation, transposed, output_padding, groups = args[3:9]
    return Convolution(
        tuple(stride), tuple(padding), tuple(dilation), transposed, tuple(output_padding), groups
    )


@contextmanager
def _inside(module: nn.Module, paths: Sequence[str], stack: list[str]) -> Iterator[None]:
    """Keep the paths of the named modules that are running on a stack."""
    hooks = []
    for path in paths:
        part = module.get_submodule(path)

        def enter(_: nn.Module, given: object, path: str = path) -> None:
            stack.append(path)

        def leave(_: nn.Module, given: object, answer: object) -> None:
            stack.pop()

        hooks.append(part.register_forward_pre_hook(enter))
        hooks.append(part.register_forward_hook(leave))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
