"""Makes an `accelerate.Accelerator` for one training, and places modules and batches for it."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    FullyShardedDataParallelPlugin,
    GradientAccumulationPlugin,
)
from torch import Tensor, nn

from compress.errors import StageError
from compress.training.augmentation.images import IMAGES
from compress.training.distributed.processes import Processes
from compress.training.options import Precision

_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
_STATES = (AcceleratorState, GradientState, PartialState)
_KINDS = (
    DistributedType.NO,
    DistributedType.MULTI_CPU,
    DistributedType.MULTI_GPU,
    DistributedType.FSDP,
)


@contextmanager
def acceleration(
    *,
    precision: Precision,
    device: str,
    directory: Path | None = None,
    trackers: tuple[str, ...] = (),
) -> Iterator[Accelerator]:
    """An accelerator whose process-wide state ends with the context.

    `accelerate` keeps one state for the whole process and refuses a second precision. An earlier
    state (of a notebook's own accelerator) is put aside and restored.

    Parameters
    ----------
    directory : folder of the trackers' files.

    Raises
    ------
    StageError : the device is missing or can't compute in this precision, or the launcher asks for
        anything but DDP and FSDP2.
    """
    _check_device(precision=precision, device=device)
    _check_sharding()
    before = [dict(state._shared_state) for state in _STATES]
    _clear_states()
    try:
        accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision=_MIXED[precision],
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            # Some parameters, such as a pooler's, may be reached by no loss.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
            log_with=list(trackers) or None,
            project_dir=str(directory) if directory else None,
        )
        _shard_on_cpu_too(accelerator)
        _check_kind(accelerator)
        yield accelerator
    finally:
        _clear_states()
        for state, shared in zip(_STATES, before, strict=True):
            state._shared_state.update(shared)


def _clear_states() -> None:
    for state in _STATES:
        state._shared_state.clear()


def _sharding_wanted() -> bool:
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def _check_sharding() -> None:
    version = os.environ.get("FSDP_VERSION", "1")
    if _sharding_wanted() and version != "2":
        raise StageError(
            f"FSDP needs 'fsdp_version: 2' in accelerate's configuration. Got {version}."
        )


def _shard_on_cpu_too(accelerator: Accelerator) -> None:
    """Let FSDP work on a CPU, so that a configuration can be tried without GPUs.

    accelerate would silently use DDP there, but torch's `fully_shard` works.
    """
    if _sharding_wanted() and accelerator.distributed_type == DistributedType.MULTI_CPU:
        plugin = FullyShardedDataParallelPlugin()
        if accelerator.mixed_precision != "no":
            plugin.set_mixed_precision(accelerator.mixed_precision)
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = plugin


def _check_kind(accelerator: Accelerator) -> None:
    kind = accelerator.distributed_type
    if kind not in _KINDS:
        raise StageError(f"processes train together by DDP or FSDP. Got {kind.value}.")


def is_sharded(accelerator: Accelerator) -> bool:
    """Return whether each process holds only a part of every weight (FSDP)."""
    return bool(accelerator.distributed_type == DistributedType.FSDP)


def processes_of(accelerator: Accelerator) -> Processes:
    """The processes that train together under an accelerator."""
    return Processes(index=accelerator.process_index, count=accelerator.num_processes)


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
    """Return whether a module is to use channels-last memory: it has 2-d convolutions.

    A convolution with strides, a 1 x 1 kernel and few channels rules it out. On CPUs with AVX2 and
    no AVX-512, PyTorch 2.13's oneDNN would compute its weights' gradient with a kernel that reads
    and writes channels by eight, beyond the end of the memory.
    """
    layers = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    return bool(layers) and not any(_is_narrow(layer) for layer in layers)


def _is_narrow(layer: nn.Conv2d) -> bool:
    return max(layer.kernel_size) == 1 and max(layer.stride) > 1 and layer.in_channels < 8


def placed_copy(module: nn.Module, *, device: str | torch.device) -> nn.Module:
    """A deep copy in fp32 on the device; in channels-last memory if `is_convolutional`."""
    placed = copy.deepcopy(module).to(device=device, dtype=torch.float32)
    if is_convolutional(placed):
        placed.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def placed_batch(
    batch: Mapping[str, Tensor], *, device: torch.device, channels_last: bool
) -> dict[str, Tensor]:
    """The batch on the device, with images in channels-last memory only if `channels_last`."""
    placed = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    images = placed.get(IMAGES)
    if images is not None and images.ndim == 4:
        # A copy sets the strides: images with one channel count as contiguous in both layouts.
        placed[IMAGES] = (
            images.contiguous(memory_format=torch.channels_last)
            if channels_last
            else images.clone(memory_format=torch.contiguous_format)
        )
    return placed


@contextmanager
def reproducible(*, seed: int, threads: int, device: str) -> Iterator[None]:
    """Seed torch and set its number of threads inside the context; restore both at its end.

    On a GPU convolutions use deterministic algorithms. Other kernels there may still differ in
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
