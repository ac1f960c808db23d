"""Calls a task's own functions, and requires what the contract promises of their results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compress.core.foreign.boundary import foreign
from compress.errors import StageError

if TYPE_CHECKING:
    from compress.core.context import Batch
    from compress.tasks.contract import Task


def own_loss(task: Task, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """Return a task's loss against labels, a scalar.

    Raises
    ------
    StageError : the task's function fails, or returns something else.
    """
    with foreign(f"the loss of {task.name}", error=StageError):
        found = task.loss(outputs, batch)
    return scalar(found, f"the loss of {task.name}")


def own_comparison(
    task: Task,
    student: Mapping[str, Tensor],
    teacher: Mapping[str, Tensor],
    batch: Batch,
    *,
    temperature: float,
) -> Tensor:
    """Return a task's distance of a student's outputs from its teacher's, a scalar.

    Raises
    ------
    StageError : the task's function fails, or returns something else.
    """
    with foreign(f"'compare' of {task.name}", error=StageError):
        found = task.compare(student, teacher, batch, temperature=temperature)
    return scalar(found, f"what 'compare' of {task.name} returns")


def scalar(found: object, what: str) -> Tensor:
    """Return a loss as a scalar.

    Raises
    ------
    StageError : it isn't one.
    """
    if not isinstance(found, Tensor) or found.numel() != 1 or not found.is_floating_point():
        given = (
            f"a tensor of shape {tuple(found.shape)} and type {found.dtype}"
            if isinstance(found, torch.Tensor)
            else type(found).__name__
        )
        raise StageError(f"{what} must be a scalar of floats. Got {given}.")
    return found.reshape(())
