"""Models that are measured in PyTorch, because they have no ONNX form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from compress.models.checkpoint import STRUCTURE, WEIGHTS

if TYPE_CHECKING:
    from torch import nn

    from compress.core.context import Task

Arrays = Mapping[str, np.ndarray[Any, Any]]

NOTES = (
    "measured in PyTorch, as it has no ONNX form: quality, latency and speedups, against the "
    "reference and the previous model in PyTorch too",
    "the reference's quality is that of its ONNX file, which was compared with its module",
    "size is that of the checkpoint; params and macs are those of the float model",
)
"""Notes of a row that was measured in PyTorch."""


def checkpoint_bytes(directory: Path) -> int:
    """Return the bytes on disk of a checkpoint's two files."""
    return sum((directory / name).stat().st_size for name in (WEIGHTS, STRUCTURE))


def module_calls(module: nn.Module, *, task: Task) -> Callable[[Arrays], Callable[[], object]]:
    """Return a module in the form that is timed; its inputs become tensors before the timing."""

    def prepare(inputs: Arrays) -> Callable[[], object]:
        batch = {name: torch.from_numpy(array) for name, array in inputs.items()}

        def call() -> object:
            with torch.no_grad():
                return task.logits(module, batch)

        return call

    return prepare
