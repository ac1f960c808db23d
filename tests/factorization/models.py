"""Tiny models to split."""

from functools import partial

import torch
import transformers
from torch import nn

from compress.models.resnet import resnet
from compress.pruning.cost.model import count_cost
from compress.tasks.task import task

IMAGE = task("image-classification")
TEXT = task("text-classification")
GENERATION = task("text-generation")


def texts(samples=4, length=12):
    """Inputs of which the second half of every second sample is padding."""
    real = torch.tensor([length, length // 2] * samples)[:samples, None]
    return {
        "input_ids": torch.randint(5, 60, (samples, length)),
        "attention_mask": (torch.arange(length)[None] < real).long(),
    }


def bert(*, layers=2):
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=32,
        num_labels=3,
    )
    return transformers.BertForSequenceClassification(config).eval()


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=60, n_embd=32, n_layer=2, n_head=4, n_positions=32, bos_token_id=1
    )
    return transformers.GPT2LMHeadModel(config).eval()


def cnn():
    return resnet(blocks=(1, 1), width=8, num_classes=3).eval()


class Parts(nn.Module):
    """A layer of every kind that stays whole, and two that can be split."""

    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv2d(8, 8, 3, groups=4, padding=1)
        self.plain = nn.Conv2d(8, 16, 3, padding=1)
        self.derived = type("Derived", (nn.Linear,), {})(16, 16)
        self.wide = nn.Linear(16, 16)
        self.narrow = nn.Linear(16, 1)
        self.idle = nn.Linear(16, 16)
        self.twin = nn.Linear(16, 16)
        self.other_twin = nn.Linear(16, 16)
        self.other_twin.weight = self.twin.weight
        self.head = nn.Linear(16, 4)

    def forward(self, images):
        features = self.plain(self.grouped(images)).mean((2, 3))
        features = self.other_twin(self.twin(self.wide(self.derived(features))))
        return self.head(features * self.narrow(features))


def make(name, **options):
    """(module in eval mode, inputs of a few samples, task) of a name."""
    torch.manual_seed(0)
    if name == "bert":
        return bert(**options), texts(), TEXT
    if name == "gpt2":
        return gpt2(), texts(), GENERATION
    if name == "cnn":
        return cnn(), {"pixel_values": torch.rand(4, 1, 12, 12)}, IMAGE
    return Parts().eval(), {"images": torch.rand(4, 8, 6, 6)}, IMAGE


def given(inputs, task):
    """What `factorize` is told of a problem: one sample, the task, and how to count."""
    one = {name: value[:1] for name, value in inputs.items()}
    return {"inputs": one, "task": task, "count": partial(count_cost, task=task, inputs=one)}
