"""Prepares a module for training: memory layout, compilation, optimizer and wrapper."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from compress.errors import StageError
from compress.training.acceleration import is_convolutional, is_sharded
from compress.training.distributed.gradient_compression import LowRankGradients, bytes_per_step
from compress.training.distributed.power_sgd import hook_bytes, hook_rank, register_hook
from compress.training.learner import Learner, Loss, LossFunction
from compress.training.optimization import check_eight_bit, make_optimizer
from compress.training.options import TrainingOptions


@dataclass
class Prepared:
    """A student that is ready for the training loop.

    Attributes
    ----------
    learner : the student and its loss.
    wrapped : the learner as it is called: itself, or inside DDP, or sharded.
    optimizer : the optimizer of all trained parameters.
    channels_last : whether the weights are in channels-last memory, as images must be then.
    low_rank : compresses gradients before each step; None if nothing or PowerSGD does.
    notes : what was chosen.
    """

    learner: Learner
    wrapped: Any
    optimizer: Any
    channels_last: bool
    low_rank: LowRankGradients | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All trained parameters."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]


def prepare(
    student: nn.Module,
    loss: Loss | LossFunction,
    *,
    options: TrainingOptions,
    accelerator: Accelerator,
    total_steps: int,
    seed: int,
) -> Prepared:
    """Prepare a student, which is on its device already, for training. It is changed in place.

    Parameters
    ----------
    total_steps : number of optimizer steps in the whole training.
    seed : seed of the random projections that compress gradients.

    Raises
    ------
    StageError : nothing is trainable, or an option doesn't fit the student or the device.
    """
    if not any(parameter.requires_grad for parameter in student.parameters()):
        raise StageError("nothing to train: no parameter of the module requires a gradient.")
    channels_last = is_convolutional(student) and not is_sharded(accelerator)
    if not channels_last:  # FSDP refuses weights that aren't contiguous
        student.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if options.gradient_checkpointing:
        _checkpoint(student)
    if options.compile:
        student.compile()
    learner = Learner(student, loss)
    # There are no fused steps for sharded weights.
    optimizer = make_optimizer(learner, options, fused=not is_sharded(accelerator))
    if options.optimizer == "adamw_8bit":
        if is_sharded(accelerator):
            raise StageError("optimizer 'adamw_8bit' doesn't work with FSDP. Use adamw.")
        check_eight_bit(optimizer)
    alone = accelerator.num_processes == 1
    wrapped: Any = learner
    if not alone:
        wrapped, optimizer = accelerator.prepare(learner, optimizer)
    elif accelerator.scaler:
        # Only gradient scaling (fp16) needs accelerate's wrapper, which slows each step a little.
        optimizer = accelerator.prepare(optimizer)
    prepared = Prepared(learner, wrapped, optimizer, channels_last)
    if options.gradient_compression is not None:
        _compress(prepared, options.gradient_compression.rank_ratio, total_steps, seed)
    return prepared


def _checkpoint(student: nn.Module) -> None:
    if not getattr(student, "supports_gradient_checkpointing", False):
        raise StageError(
            "'gradient_checkpointing' needs a transformers model that supports it. "
            f"Got a {type(student).__name__}."
        )
    enable: Any = student.gradient_checkpointing_enable
    enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def released(student: nn.Module, options: TrainingOptions) -> nn.Module:
    """Undo what `prepare` did to a student, so that it is a plain module again."""
    if options.gradient_checkpointing:
        disable: Any = student.gradient_checkpointing_disable
        disable()
    student._compiled_call_impl = None
    return student


def _compress(prepared: Prepared, ratio: float, total_steps: int, seed: int) -> None:
    """Compress gradients when they are sent to other processes, or in the only process."""
    learner, wrapped = prepared.learner, prepared.wrapped
    shapes = _shapes(learner)
    if isinstance(wrapped, DistributedDataParallel):
        rank = hook_rank(_shapes(learner.student), ratio)
        register_hook(wrapped, rank=rank, total_steps=total_steps, seed=seed)
        whole, sent = hook_bytes(shapes, rank)
        prepared.notes.append(
            f"gradient compression (PowerSGD, rank {rank} from ratio {ratio:g}): {sent:,} instead "
            f"of {whole:,} bytes of gradients a step from each process, after a tenth of the steps"
        )
    elif wrapped is learner:
        prepared.low_rank = LowRankGradients(prepared.parameters, ratio=ratio, seed=seed)
        whole, cut = bytes_per_step(shapes, ratio)
        prepared.notes.append(
            f"gradient compression (rank ratio {ratio:g}): a step's gradients have {cut:,} instead "
            f"of {whole:,} bytes; one process sends none"
        )
    else:
        raise StageError("'gradient_compression' doesn't work with FSDP. Use DDP.")


def _shapes(module: nn.Module) -> list[torch.Size]:
    return [p.shape for p in module.parameters() if p.requires_grad]
