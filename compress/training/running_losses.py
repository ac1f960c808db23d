"""Running averages of a loss's parts. They are rarely read from the device."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from compress.errors import StageError
from compress.training.distributed.processes import Processes
from compress.training.learner import Counts, count_for

_Sums = dict[str, tuple[float, int]]


class LossesSeen:
    """Collects an epoch's losses as tensors, so that a step needn't wait for a GPU.

    `settle` reads them from the device and from all processes. It finds a loss that isn't finite,
    and its step.
    """

    def __init__(self, processes: Processes | None = None) -> None:
        self._processes = processes or Processes()
        self._pending: list[tuple[int, Counts, Mapping[str, Tensor]]] = []
        self._sums: _Sums = {}

    def add(self, parts: Mapping[str, Tensor], *, counts: Counts, step: int) -> None:
        """Add one batch's losses, each averaged over its count."""
        found = {name: part.detach().float() for name, part in parts.items()}
        self._pending.append((step, counts, found))

    def settle(self) -> dict[str, float]:
        """Each part averaged over its counts since the last call. All processes must call it.

        Raises
        ------
        StageError : a loss is NaN or infinite; the message names the step.
        """
        recent: _Sums = {}
        for own, failure in self._processes.gather(self._read()):
            if failure is not None:
                raise StageError(failure)
            _merge(recent, own)
        _merge(self._sums, recent)
        return _averages(recent)

    def _read(self) -> tuple[_Sums, str | None]:
        """Sums and counts of this process's pending losses, and the problem of one, or None."""
        if not self._pending:
            return {}, None
        flat = [value for _, _, parts in self._pending for value in parts.values()]
        values = iter(torch.stack(flat).tolist())
        sums: _Sums = {}
        for step, counts, parts in self._pending:
            for name, value in zip(parts, values, strict=False):
                if not math.isfinite(value):
                    return {}, (
                        f"the loss ({name}) became {value} at optimizer step {step}. "
                        "Lower 'learning_rate', set 'max_grad_norm', or use precision fp32."
                    )
                count = count_for(name, counts)
                _merge(sums, {name: (value * count, count)})
        self._pending.clear()
        return sums, None

    def averages(self) -> dict[str, float]:
        """Each part averaged over everything that was settled so far."""
        return _averages(self._sums)


def _merge(into: _Sums, more: _Sums) -> None:
    for name, (value, count) in more.items():
        held = into.get(name, (0.0, 0))
        into[name] = (held[0] + value, held[1] + count)


def _averages(sums: _Sums) -> dict[str, float]:
    # A part with a count of 0 has the value 0.
    return {name: value / count if count else 0.0 for name, (value, count) in sums.items()}
