"""scikit-learn's digits as a run has them."""

from functools import cache

import torch

from compress.core.artifact import Preprocessor
from compress.data.dataset import Dataset, load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec, ImageSpec
from compress.tasks.task import task

TASK = task("image-classification")
SPEC = DataSpec(sklearn="digits", image=ImageSpec(mean=[0.5], std=[0.5]))


@cache
def digits() -> Dataset:
    """The splits."""
    return load_data(SPEC, task=TASK, labels=(), seed=0)


@cache
def preprocessor() -> Preprocessor:
    """Pixels scaled to [-1, 1]."""
    return load_preprocessor(None, task=TASK, spec=SPEC)


def accuracy(module: torch.nn.Module) -> float:
    """Of a module, on what it wasn't trained with."""
    [batch] = digits().loader("test", preprocessor(), batch_size=1000)
    with torch.no_grad():
        logits = TASK.logits(module, {"pixel_values": batch["pixel_values"]})
    return (logits.argmax(1) == batch["labels"]).float().mean().item()
