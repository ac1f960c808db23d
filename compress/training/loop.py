"""Trains a module: `fit`."""

from __future__ import annotations

from torch import nn

from compress.core.artifact import Artifact
from compress.core.context import Context
from compress.errors import StageError
from compress.training.acceleration import acceleration, placed_copy, reproducible
from compress.training.distributed.processes import join
from compress.training.epochs import Epochs, TrainingResult
from compress.training.learner import Loss, LossFunction
from compress.training.options import TrainingOptions

__all__ = ["Loss", "LossFunction", "TrainingResult", "fit"]


def fit(
    module: nn.Module,
    *,
    loss: Loss | LossFunction,
    artifact: Artifact,
    context: Context,
    options: TrainingOptions,
    description: str,
) -> TrainingResult:
    """Train a copy of a module, and return its best epoch.

    After each epoch the copy is validated with the score of the task's target (see
    `compress.training.validation.scores`). The same seed, thread count and number of processes give
    the same weights on the CPU. `training.json` is written to `context.directory`.

    If several processes were launched together, all of them must call it. Each computes its slice
    of every batch, and all return the same weights.

    Parameters
    ----------
    module : the module to copy; it is left as it was.
    loss : called in the module's train mode under the precision's autocast, with the batch on
        `context.device`. If it is an `nn.Module`, its own parameters are trained in place.
    artifact : its preprocessor makes the inputs, and its labels are the classes.
    description : words for the work, for the progress display.

    Raises
    ------
    StageError : a loss isn't finite (the message names the step), the device can't compute in the
        precision, the module has no trainable parameter, a split is empty, or an option doesn't fit
        the task.
    """
    if artifact.preprocessor is None:
        raise StageError("training needs a preprocessor. The artifact has none.")
    task, seed = context.task, context.seed
    for _, problem in options.misfits(modality=task.modality, target=task.target):
        raise StageError(problem)
    processes = join(context.device)
    with (
        acceleration(
            precision=options.precision,
            device=context.device,
            directory=context.directory,
            trackers=options.trackers,
        ) as accelerator,
        # Each process has its own seed for dropout, since its samples differ too.
        reproducible(seed=seed + processes.index, threads=context.threads, device=context.device),
    ):
        epochs = Epochs(
            placed_copy(module, device=accelerator.device),
            loss=loss,
            artifact=artifact,
            context=context,
            options=options,
            accelerator=accelerator,
        )
        return epochs.run(description, plain=module)
