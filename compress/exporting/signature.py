"""The traced signature of a module: a function of tensors with named inputs, axes and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from compress.core.context import Task

BATCH, SEQUENCE, HEIGHT, WIDTH = "batch_size", "sequence_length", "height", "width"
"""Names of axes, as in Optimum. Transformers.js reads `batch_size` to make an empty cache."""
Axes = Mapping[int, str]


@dataclass(frozen=True)
class ExportSignature:
    """The signature with which a module is exported.

    Attributes
    ----------
    traced : a module that takes the inputs in order, and holds the exported module as `module`.
    inputs : example tensors by the graph's input names.
    axes : the dynamic axes of each input, by their names.
    outputs : names of the graph's outputs.
    """

    traced: nn.Module
    inputs: Mapping[str, Tensor]
    axes: tuple[Axes, ...]
    outputs: tuple[str, ...]


class _Positional(nn.Module):
    """The module as a function from the batch's tensors, in order, to the task's outputs."""

    def __init__(self, module: nn.Module, task: Task, names: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self._task = task
        self._names = tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        inputs = dict(zip(self._names, tensors, strict=True))
        answers = tuple(self._task.file_outputs(self.module, inputs).values())
        return answers[0] if len(answers) == 1 else answers


def plain_signature(
    module: nn.Module,
    *,
    task: Task,
    inputs: Mapping[str, Tensor],
    dynamic_image_size: bool = False,
) -> ExportSignature:
    """Return the signature with the batch's inputs and the task's outputs, under their names.

    All inputs get a dynamic batch, text inputs (N, S) also a dynamic sequence, and those of other
    tasks the axes that the task names.
    """
    size: Axes = {2: HEIGHT, 3: WIDTH} if dynamic_image_size else {}
    axes = tuple({0: BATCH, **task.varying_axes(name, x), **size} for name, x in inputs.items())
    traced = _Positional(module, task, tuple(inputs))
    return ExportSignature(traced.eval(), inputs, axes, (*task.output_names, *task.beside))


def widened(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return inputs of at least two samples, as torch.export takes a size of 1 for a constant."""
    return {
        name: (torch.cat([x, x]) if x.shape[0] == 1 else x).cpu().contiguous()
        for name, x in inputs.items()
    }
