"""Keeps the best epoch's weights: one copy, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from compress.training.validation.scores import Score

_WRAPPER = "_checkpoint_wrapped_module."


class BestWeights:
    """The weights and buffers of the epoch with the best validation score so far.

    Of a module that is sharded over processes, each keeps its own shards.

    Attributes
    ----------
    score : of that epoch; None before the first.
    epoch : its number, from 1; 0 before the first.
    """

    def __init__(self) -> None:
        self.score: Score | None = None
        self.epoch = 0
        self._tensors: dict[str, Tensor] = {}

    def offer(self, module: nn.Module, *, score: Score, epoch: int) -> bool:
        """Copy the module's weights if the score is the best; says whether it is."""
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
        """Give the module the weights that were kept."""
        with torch.no_grad():
            for name, tensor in _tensors_of(module):
                _own_part(tensor).copy_(self._tensors[name])


def gathered(sharded: nn.Module, into: nn.Module) -> nn.Module:
    """`into` with the whole weights of a sharded module, in every process; all must call it."""
    targets = dict(_tensors_of(into))
    with torch.no_grad():
        for name, tensor in _tensors_of(sharded):
            whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            targets[name].copy_(whole)
    return into


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    # A shared tensor comes once, and buffers that no state_dict holds come too.
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        yield name.replace(_WRAPPER, ""), tensor


def _own_part(tensor: Tensor) -> Tensor:
    local = getattr(tensor, "to_local", None)
    return tensor if local is None else local()
