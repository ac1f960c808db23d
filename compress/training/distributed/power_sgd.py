"""Gradient compression across processes: PyTorch's PowerSGD hook (Vogels et al., 2019)."""

# DDP compares a hook's annotations with classes, so they must not be strings.
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook as power_sgd
from torch.nn.parallel import DistributedDataParallel

_FIRST_STEPS = 0.1
"""Fraction of the steps that send whole gradients first, as the hook's authors advise."""


def hook_rank(shapes: Sequence[torch.Size], ratio: float) -> int:
    """The rank that the hook uses for all matrices.

    It is `ratio` of the shorter side, averaged over the matrices with their elements as weights.
    """
    matrices = [shape for shape in shapes if len(shape) > 1]
    elements = sum(shape.numel() for shape in matrices)
    sides = sum(min(shape[0], shape[1:].numel()) * shape.numel() for shape in matrices)
    return max(1, round(ratio * sides / elements)) if elements else 1


def hook_bytes(shapes: Sequence[torch.Size], rank: int) -> tuple[int, int]:
    """Bytes of a step's gradients in fp32: uncompressed, and as the hook sends them."""
    whole = sent = 0
    for shape in shapes:
        elements = shape.numel()
        factors = rank * (shape[0] + elements // shape[0]) if len(shape) > 1 else elements
        whole += 4 * elements
        sent += 4 * min(elements, factors)
    return whole, sent


def register_hook(
    wrapped: DistributedDataParallel, *, rank: int, total_steps: int, seed: int
) -> None:
    """Let DDP send gradients of that rank. The first tenth of the steps sends whole gradients."""
    state = power_sgd.PowerSGDState(
        None,
        matrix_approximation_rank=rank,
        start_powerSGD_iter=max(2, round(_FIRST_STEPS * total_steps)),
        min_compression_rate=1,
        random_seed=seed,
    )
    wrapped.register_comm_hook(state, _in_order)


def _in_order(state: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:  # type: ignore[name-defined]
    """PowerSGD's hook; on a CPU it finishes one bucket before the next begins.

    It continues in gloo's threads. Messages of several buckets could arrive in another order in
    each process, and be taken for one another.
    """
    done: torch.futures.Future[torch.Tensor] = power_sgd.powerSGD_hook(state, bucket)
    if bucket.buffer().device.type == "cpu":
        done.wait()
    return done
