"""Running averages of a loss, read from the device seldom."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from compress.errors import StageError


class LossesSeen:
    """Collects an epoch's losses as tensors, so that a step needn't wait for a GPU.

    `settle` brings them over: it finds what isn't finite, and the very step where that was.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[int, int, Tensor]] = []
        self._names: tuple[str, ...] = ()
        self._sums: dict[str, float] = {}
        self._samples = 0

    def add(self, parts: Mapping[str, Tensor], *, samples: int, step: int) -> None:
        """Note one batch's losses, each averaged over its samples."""
        self._names = tuple(parts)
        values = torch.stack([part.detach().float() for part in parts.values()])
        self._pending.append((step, samples, values))

    def settle(self) -> float:
        """The loss averaged over the batches since the last call.

        Raises
        ------
        StageError : a loss is NaN or infinite; names the step.
        """
        if not self._pending:
            return math.nan
        rows = torch.stack([values for _, _, values in self._pending]).tolist()
        total, count = 0.0, 0
        for (step, samples, _), row in zip(self._pending, rows, strict=True):
            for name, value in zip(self._names, row, strict=True):
                if not math.isfinite(value):
                    raise StageError(
                        f"the loss ({name}) became {value} at optimizer step {step}. "
                        "Lower 'learning_rate', set 'max_grad_norm', or use precision fp32."
                    )
                self._sums[name] = self._sums.get(name, 0.0) + value * samples
                total += value * samples
            count += samples
        self._samples += count
        self._pending.clear()
        return total / count

    def averages(self) -> dict[str, float]:
        """Each part averaged over the samples settled so far."""
        return {name: value / self._samples for name, value in self._sums.items()}
