"""scikit-learn's digits as a run has them."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from compress.core.artifact import Artifact, Format, Preprocessor
from compress.core.context import Context
from compress.data.dataset import Dataset, load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec, ImageSpec
from compress.exporting.checked import export_artifact
from compress.models.source import PythonSource
from compress.stages.train import Train
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


def exported_once(artifact: Artifact, context: Context, directory: Path) -> Artifact:
    """The artifact as stages have it in a run, which has exported its module to measure it."""
    path = directory / "exported.onnx"
    export_artifact(artifact, context, path)
    return replace(artifact, exported=path)


def trained(directory: Path, *, epochs: int) -> tuple[Artifact, Context]:
    """A small network that knows the digits, and a context in which it is the reference."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    source = PythonSource("compress.models.resnet:resnet", {"blocks": [1, 1], "width": 16})
    untrained = Artifact(
        Format.TORCH,
        source.build(),
        source,
        preprocessor=preprocessor(),
        labels=tuple("0123456789"),
    )
    context = Context(untrained, TASK, digits(), directory)
    training = {"epochs": epochs, "batch_size": 64, "learning_rate": 5e-3}
    artifact = Train.model_validate({"training": training}).apply(untrained, context)
    return artifact, replace(context, reference=artifact)
