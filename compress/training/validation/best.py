"""Keeps the best epoch's weights as one copy on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from compress.training.validation.scores import Score

_WRAPPER = "_checkpoint_wrapped_module."


class BestWeights:
    """The weights and buffers of the epoch with the best validation score so far.

    If a module is sharded over processes, each process keeps its own shards.

    Attributes
    ----------
    score : score of that epoch; None before the first.
    epoch : number of that epoch, from 1; 0 before the first.
    """

    def __init__(self) -> None:
        self.score: Score | None = None
        self.epoch = 0
        self._tensors: dict[str, Tensor] = {}

    def offer(self, module: nn.Module, *, score: Score, epoch: int) -> bool:
        """Copy the module's weights if the score is the best so far; return whether it is."""
        if self.score is not None and not score.beats(self.score):
            return False
        self.score, self.epoch = score, epoch
        for name, tensor in _tensors_of(module):
            kept, own = self._tensors.get(name), _own_part(tensor)
            if kept is None:
                self._tensors[name] = own.detach().to("cpu", copy=True)
            else:
                kept.copy_(own)
        return True

    def restore(self, module: nn.Module) -> None:
        """Copy the kept weights into the module."""
        with torch.no_grad():
            for name, tensor in _tensors_of(module):
                _own_part(tensor).copy_(self._tensors[name])


def gathered(sharded: nn.Module, into: nn.Module) -> nn.Module:
    """`into` with the whole weights of a sharded module. All processes must call it."""
    targets = dict(_tensors_of(into))
    with torch.no_grad():
        for name, tensor in _tensors_of(sharded):
            whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            targets[name].copy_(whole)
    return into


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    # Shared tensors come once; buffers that aren't in the state_dict are included.
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        yield name.replace(_WRAPPER, ""), tensor


def _own_part(tensor: Tensor) -> Tensor:
    local = getattr(tensor, "to_local", None)
    return tensor if local is None else local()
