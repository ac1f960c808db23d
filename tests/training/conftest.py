"""Real digits, cut small, behind the protocol that a run's data keeps."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.tasks.task import task


class Shown:
    """A preprocessor that has nothing to do: the samples are tensors already."""

    fingerprint = "0"

    def save(self, directory):
        directory.mkdir(exist_ok=True)


class Batches:
    def __init__(self, inputs, labels, batch_size, seed):
        self.inputs, self.labels = inputs, labels
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0

    def __len__(self):
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self):
        order = np.arange(len(self.labels))
        if self.seed is not None:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        self.epoch += 1
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield {
                "pixel_values": self.inputs[chosen],
                "labels": self.labels[chosen],
                "sample_ids": torch.from_numpy(chosen),
            }


class Tensors:
    """Splits held as tensors."""

    def __init__(self, splits):
        self.splits = splits

    def size(self, split):
        return len(self.splits[split][1])

    def loader(self, split, preprocessor, *, batch_size, shuffle_seed=None, limit=None, **_):
        inputs, labels = self.splits[split]
        return Batches(inputs[:limit], labels[:limit], batch_size, shuffle_seed)


@pytest.fixture(scope="session")
def digits():
    found = load_digits()
    # The file goes writer by writer: shuffled, both splits hold all of them.
    order = np.random.default_rng(0).permutation(len(found.target))
    images = torch.tensor(found.images[order, None] / 8 - 1, dtype=torch.float32)
    labels = torch.tensor(found.target[order])
    return Tensors(
        {"train": (images[:1300], labels[:1300]), "validation": (images[1300:], labels[1300:])}
    )


@pytest.fixture
def tensors():
    return Tensors


@pytest.fixture
def make_context(tmp_path):
    def make(data, **changes):
        return Context(
            reference=Artifact(Format.TORCH),
            task=task("image-classification"),
            data=data,
            directory=tmp_path,
            **changes,
        )

    return make


@pytest.fixture
def artifact():
    return Artifact(Format.TORCH, preprocessor=Shown())


@pytest.fixture
def cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(128, 10),
    ).eval()


@pytest.fixture
def cross_entropy():
    def loss(module, batch):
        return nn.functional.cross_entropy(module(batch["pixel_values"]).float(), batch["labels"])

    return loss
