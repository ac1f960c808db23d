"""Recurrent layers in a trace: one operation each, whatever autograd takes them apart into."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from compress.errors import StageError


class Recurrent(torch.autograd.Function):
    """An operation from a layer's sequence and first states to its states; it has no gradient."""

    @staticmethod
    def forward(ctx: Any, given: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return copies of the tensors after the first `given`, which are the inputs."""
        return tuple(tensor.clone() for tensor in tensors[given:])


_apply: Callable[..., tuple[Tensor, ...]] = Recurrent.apply


def as_operations(traced: nn.Module) -> None:
    """Let each recurrent layer of a module run as one operation. The module is changed."""
    for path, part in traced.named_modules():
        if isinstance(part, nn.RNNBase):
            part.forward = partial(_forward, part, path)


def _forward(part: nn.RNNBase, path: str, given: Tensor, states: Any = None) -> Any:
    if not isinstance(given, Tensor):
        name = type(part).__name__
        raise StageError(
            f"{name} {path} reads a packed sequence, whose channels can't be followed."
        )
    with torch.no_grad():
        answer, last = type(part).forward(part, given, states)
    first = () if states is None else states if isinstance(states, tuple) else (states,)
    ends = last if isinstance(last, tuple) else (last,)
    # With a weight among its inputs, the operation is in autograd's graph in any case.
    inputs = (given, *first, part.weight_hh_l0)
    answer, *made = _apply(len(inputs), *inputs, answer, *ends)
    return answer, tuple(made) if isinstance(last, tuple) else made[0]
