"""A chain of layers whose neurons are cut, one of which does nothing; and its data."""

import torch
from torch import nn

from compress.models.structure.groups import Group, Slice, block_index
from compress.pruning.importance.scores import scores
from compress.pruning.sensitivity.trials import ValidationSamples
from tests.pruning.importance.models import IMAGE

GRID = (0.25, 0.5, 0.75)


def chain(*, useless=1, units=8, seed=0):
    """Three layers of as many neurons, each added to what it reads; one of them does nothing."""
    torch.manual_seed(seed)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(6, units), nn.Linear(units, 6)

        def forward(self, x):
            return x + self.down(torch.tanh(self.up(x)))

    module = nn.Sequential(*(Block() for _ in range(3)), nn.Linear(6, 4)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
        # Its weights are the largest, so that their magnitude says the opposite.
        module[useless].up.weight.mul_(5)
        module[useless].down.weight.zero_()
    return module


def layers(module, *, units=8):
    index = block_index(units, 1)
    return [
        Group(
            f"{place}.up",
            "feed_forward",
            units,
            (
                Slice(f"{place}.up", "weight", 0, index),
                Slice(f"{place}.up", "bias", 0, index),
                Slice(f"{place}.down", "weight", 1, index),
            ),
        )
        for place in range(len(module) - 1)
    ]


def data(samples=48, *, size=16, made=4):
    torch.manual_seed(3)
    values, labels = torch.randn(samples, 6), torch.randint(made, (samples,))
    return [
        {"x": values[i : i + size], "labels": labels[i : i + size]} for i in range(0, samples, size)
    ]


def samples(loader=None, metric="agreement"):
    return ValidationSamples(IMAGE, data() if loader is None else loader, metric)


def magnitudes(module, groups):
    return scores(module, groups, criterion="magnitude", seed=0)
