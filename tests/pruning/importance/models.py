"""A network of two layers whose neurons are ranked, and its data."""

import torch
from torch import nn
from torch.nn import functional as F

from compress.models.structure.groups import Group, Slice, block_index
from compress.tasks.task import task

IMAGE = task("image-classification")


def network(units=6, *, seed=0, read=4, made=3):
    """Two linear layers with a smooth function between them, in eval mode."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(read, units), nn.GELU(), nn.Linear(units, made)).eval()
    with torch.no_grad():
        module[0].bias.normal_()
    return module


def neurons(units=6, *, kind="feed_forward", width=1, name="0"):
    """The units between its layers, of `width` elements each."""
    index = block_index(units, width)
    slices = (("0", "weight", 0), ("0", "bias", 0), ("2", "weight", 1))
    return Group(name, kind, units, tuple(Slice(*part, index) for part in slices))


def batches(samples=8, *, size=8, read=4, made=3, seed=1):
    """Inputs and labels in batches of `size`."""
    torch.manual_seed(seed)
    values, labels = torch.randn(samples, read), torch.randint(made, (samples,))
    return [
        {"x": values[i : i + size], "labels": labels[i : i + size]} for i in range(0, samples, size)
    ]


def cross_entropy(module, batch):
    """The mean over a batch."""
    return F.cross_entropy(IMAGE.logits(module, batch), batch["labels"])


def zero_unit(module, unit):
    """All that goes with a neuron."""
    with torch.no_grad():
        module[0].weight[unit] = 0
        module[0].bias[unit] = 0
        module[2].weight[:, unit] = 0
    return module


def state(module):
    """What an observer of a module could see of it, by value."""
    return {
        "values": {name: value.clone() for name, value in module.state_dict().items()},
        "modes": [part.training for part in module.modules()],
        "flags": [parameter.requires_grad for parameter in module.parameters()],
        "gradients": [parameter.grad for parameter in module.parameters()],
        "hooks": [
            (len(part._forward_hooks), len(part._forward_pre_hooks)) for part in module.modules()
        ],
        "parts": [(name, type(part)) for name, part in module.named_modules()],
    }


def assert_same_state(module, before):
    after = state(module)
    for name, value in before.pop("values").items():
        assert torch.equal(value, after["values"][name]), name
    after.pop("values")
    assert after == before
