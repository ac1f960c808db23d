"""Keeps the best epoch's weights: one copy, on the CPU."""

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from compress.training.validation import Score


class BestWeights:
    """The weights and buffers of the epoch with the best validation score so far.

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
            kept = self._tensors.get(name)
            if kept is None:
                self._tensors[name] = tensor.detach().to("cpu", copy=True)
            else:
                kept.copy_(tensor)
        return True

    def restore(self, module: nn.Module) -> None:
        """Give the module the weights that were kept."""
        with torch.no_grad():
            for name, tensor in _tensors_of(module):
                tensor.copy_(self._tensors[name])


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    # A shared tensor comes once, and buffers that no state_dict holds come too.
    return chain(module.named_parameters(), module.named_buffers())
