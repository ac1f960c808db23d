"""Checks that a student can take its teacher's place: the same inputs, as many outputs."""

import torch
from torch import nn

from compress.core.context import Batch, Task
from compress.errors import StageError


def check_outputs(
    student: nn.Module,
    teacher: nn.Module,
    *,
    task: Task,
    inputs: Batch,
    teacher_inputs: Batch | None = None,
) -> None:
    """Run student and teacher once, and require outputs of the same shape.

    Parameters
    ----------
    student, teacher : in eval mode on the CPU.
    inputs : a small batch without labels. Texts are padded to the full length, so that a student
        with too few positions fails.
    teacher_inputs : the same samples as the teacher reads them; None: alike.

    Raises
    ------
    StageError : the student fails on the inputs, or its logits have another shape.
    """
    with torch.no_grad():
        wanted = tuple(task.logits(teacher, teacher_inputs or inputs).shape)
        try:
            got = tuple(task.logits(student, inputs).shape)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            shapes = {name: tuple(tensor.shape) for name, tensor in inputs.items()}
            raise StageError(
                f"the student can't read the teacher's inputs {shapes}: {error}"
            ) from error
    if task.target == "none":  # features: a projection brings widths together
        wanted, got = wanted[:-1], got[:-1]
    if got != wanted:
        raise StageError(
            f"the student must have the teacher's outputs, of shape {wanted}. Got {got}."
        )
