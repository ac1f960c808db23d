"""Finds the matmuls in a run of a module, by their parameter or their attention."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from compress.core.batch import ATTENTION_MASK
from compress.measurement.macs.aten import MATMULS
from compress.measurement.macs.flow import Flow

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

_MULTIPLIES = re.compile(
    r"(?:^|[_:])(?:\w*mm|\w*matmul|conv(?!ert)\w*|\w*attention\w*|\w*lstm|gru|rnn|linear)(?:_|$)"
)
"""Pattern of the names of operators that multiply; those that can't be counted are reported."""


@dataclass(frozen=True)
class ModuleMacs:
    """The multiply-accumulates of one run of a module.

    Attributes
    ----------
    total : of all matmuls and convolutions.
    layers : of those with a parameter, by the parameter's (first) name.
    attentions : of those without a parameter inside an attention, by its path.
    unknown : number of operators of each name that multiply but can't be counted.
    """

    total: int
    layers: Mapping[str, int]
    attentions: Mapping[str, int]
    unknown: Mapping[str, int]

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on operators that aren't counted; empty if all are."""
        named = ", ".join(f"{count} {name}" for name, count in self.unknown.items())
        return (f"macs leave out operators that can't be counted: {named}.",) if named else ()


def module_macs(
    module: nn.Module, *, task: Task, inputs: Batch, attentions: Sequence[str] = ()
) -> ModuleMacs:
    """Run a module once on the inputs, in eval mode, and return its matmuls.

    The rules are those of `compress.measurement.macs.graph.count_macs` for its graph.

    Parameters
    ----------
    attentions : paths of modules whose matmuls of activations are listed separately.
    """
    places = {ATTENTION_MASK}
    flow = Flow(module, [x for name, x in inputs.items() if name not in places])
    seen = _Seen(module, flow)
    with torch.no_grad(), _plain_kernels(), _inside(module, attentions, seen.stack), _Watch(seen):
        answer = task.logits(module, inputs)
    return seen.macs(flow.needed([answer]), attentions)


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Turn off fused kernels: attention runs as two products, transformer layers as their parts."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@dataclass
class _OperatorCall:
    """A matmul in the run: the operator's number, and the parameter or attention it belongs to."""

    macs: int
    operator: int
    layer: str | None
    attention: str | None


@dataclass
class _Seen:
    module: nn.Module
    flow: Flow
    calls: list[_OperatorCall] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)
    unknown: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._places = sorted(
            (parameter.data_ptr(), parameter.nbytes, name)
            for name, parameter in self.module.named_parameters()
            if parameter.numel()
        )
        self._starts = [start for start, _, _ in self._places]

    def multiply(self, macs: int, operands: Sequence[Tensor], operator: int) -> None:
        """Assign a matmul to a parameter, else to the attention that is running."""
        names = [name for x in reversed(operands) if (name := self._name(x)) is not None]
        layer = names[0] if names else None
        attention = self.stack[-1] if self.stack and layer is None else None
        self.calls.append(_OperatorCall(macs, operator, layer, attention))

    def macs(self, needed: Collection[int], attentions: Sequence[str]) -> ModuleMacs:
        """The MACs of what a runtime computes for each sample and what the answer needs."""
        layers: Counter[str] = Counter()
        inside: Counter[str] = Counter(dict.fromkeys(attentions, 0))
        total = 0
        for call in self.calls:
            if call.operator in needed and self.flow.varies[call.operator]:
                total += call.macs
                if call.layer is not None:
                    layers[call.layer] += call.macs
                elif call.attention is not None:
                    inside[call.attention] += call.macs
        unknown = Counter(name for operator, name in self.unknown if operator in needed)
        return ModuleMacs(total, layers, inside, dict(sorted(unknown.items())))

    def _name(self, tensor: Tensor) -> str | None:
        """The parameter of which a tensor is a view, by the address, which views share."""
        position = bisect_right(self._starts, tensor.data_ptr()) - 1
        if position < 0:
            return None
        start, size, name = self._places[position]
        return name if tensor.data_ptr() < start + size else None


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operator in the flow, and every matmul with its multiply-accumulates."""

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
        kwargs = kwargs or {}
        packet = func._overloadpacket
        multiply = MATMULS.get(packet)
        if multiply is None:
            with self:  # composite operators, as in inference mode, are seen as their parts
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        operator = self._seen.flow.ran(func, args, kwargs, out)
        if multiply is not None:
            made = out if isinstance(out, Tensor) else out[0]
            for macs, operands in multiply(args, made):
                self._seen.multiply(macs, operands, operator)
        elif _MULTIPLIES.search(func._schema.name):
            self._seen.unknown.append((operator, func._schema.name.partition("::")[2]))
        return out


@contextmanager
def _inside(module: nn.Module, paths: Sequence[str], stack: list[str]) -> Iterator[None]:
    """Keep a stack of the paths of those named modules that are running."""
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
