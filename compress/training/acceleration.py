"""One `accelerate.Accelerator` for one training, and where modules and batches live under it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import GradientAccumulationPlugin
from torch import Tensor, nn

from compress.errors import StageError
from compress.training.augmentation import IMAGES

Precision = Literal["fp32", "bf16", "fp16"]
_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
_STATES = (AcceleratorState, GradientState, PartialState)


@contextmanager
def acceleration(*, precision: Precision, device: str) -> Iterator[Accelerator]:
    """An accelerator whose process-wide state ends with the context.

    `accelerate` keeps one state for the whole process and refuses a second precision. What was
    there before (a notebook's own accelerator) is put aside and comes back.

    Raises
    ------
    StageError : the device is missing, or can't compute in this precision.
    """
    _check_device(precision=precision, device=device)
    before = [dict(state._shared_state) for state in _STATES]
    _clear_states()
    try:
        accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision=_MIXED[precision],
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        )
        if accelerator.num_processes > 1:
            raise StageError(
                f"training runs in one process. Got {accelerator.num_processes}; "
                "start it without a launcher."
            )
        yield accelerator
    finally:
        _clear_states()
        for state, shared in zip(_STATES, before, strict=True):
            state._shared_state.update(shared)


def _clear_states() -> None:
    for state in _STATES:
        state._shared_state.clear()


def _check_device(*, precision: Precision, device: str) -> None:
    if device == "cpu":
        if precision == "fp16":
            raise StageError(
                "'precision' must be fp32 or bf16 on a CPU: fp16 needs a GPU. Got 'fp16'."
            )
    elif not torch.cuda.is_available():
        raise StageError(f"device {device!r} isn't available: torch sees no GPU. Use cpu.")
    elif precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise StageError("'precision' must be fp32 or fp16 on this GPU: it lacks bf16. Got 'bf16'.")


def is_convolutional(module: nn.Module) -> bool:
    """Whether channels-last memory makes it faster: it has 2-d convolutions."""
    return any(isinstance(part, nn.Conv2d) for part in module.modules())


def placed_copy(module: nn.Module, *, device: str | torch.device) -> nn.Module:
    """A deep copy in fp32 on the device, in channels-last memory where it convolves."""
    placed = copy.deepcopy(module).to(device=device, dtype=torch.float32)
    if is_convolutional(placed):
        placed.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def placed_batch(
    batch: Mapping[str, Tensor], *, device: torch.device, channels_last: bool
) -> dict[str, Tensor]:
    """The batch on the device, images in channels-last memory where that is asked for."""
    placed = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    images = placed.get(IMAGES)
    if channels_last and images is not None and images.ndim == 4:
        placed[IMAGES] = images.contiguous(memory_format=torch.channels_last)
    return placed


@contextmanager
def reproducible(*, seed: int, threads: int, device: str) -> Iterator[None]:
    """Torch seeded, with so many threads, and put back as it was afterwards.

    On a GPU convolutions use deterministic algorithms; other kernels there may still differ in
    their last bits from run to run.
    """
    threads_before = torch.get_num_threads()
    deterministic_before = torch.backends.cudnn.deterministic
    devices = [] if device == "cpu" else [torch.cuda.current_device()]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.backends.cudnn.deterministic = True
        try:
            yield
        finally:
            torch.set_num_threads(threads_before)
            torch.backends.cudnn.deterministic = deterministic_before
