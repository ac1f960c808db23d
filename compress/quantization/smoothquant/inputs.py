"""What linear layers are given: the range of each channel, and a sample of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from compress.core.batch import ATTENTION_MASK, model_inputs
from compress.errors import StageError

if TYPE_CHECKING:
    from compress.core.context import Batch, Task
    from compress.core.progress import Advance

ROWS = 512
"""Rows of each layer's inputs that are kept."""
_SEED = 0


@dataclass(frozen=True, eq=False)
class Inputs:
    """Of one layer.

    Attributes
    ----------
    low, high : (channels,) the least and the largest value over all samples.
    rows : (at most ROWS, channels), drawn evenly from all samples.
    """

    low: Tensor
    high: Tensor
    rows: Tensor


def watch_inputs(
    module: nn.Module,
    layers: Iterable[str],
    *,
    task: Task,
    batches: Iterable[Batch],
    advance: Advance,
) -> dict[str, Inputs]:
    """Run the batches through the module, and see what the layers are given.

    What a text's padding gives isn't seen. Memory doesn't grow with the batches, and how samples
    are batched changes nothing but the last bits (where padding changes no answers).

    Parameters
    ----------
    layers : paths of linear layers.

    Raises
    ------
    StageError : there are no batches, or a layer is given what isn't finite.
    """
    watchers = {path: _Watcher() for path in layers}
    mask: list[Tensor | None] = [None]

    def hook(watcher: _Watcher) -> Any:
        def see(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            values: Tensor = (*given, *named.values())[0]
            watcher.add(without_padding(values.detach(), mask[0]))

        return see

    hooks = [
        module.get_submodule(path).register_forward_pre_hook(hook(watcher), with_kwargs=True)
        for path, watcher in watchers.items()
    ]
    try:
        with torch.no_grad():
            for batch in batches:
                mask[0] = batch.get(ATTENTION_MASK)
                task.logits(module, model_inputs(batch))
                advance()
    finally:
        for handle in hooks:
            handle.remove()
    return {path: watcher.seen(path) for path, watcher in watchers.items()}


def without_padding(values: Tensor, mask: Tensor | None) -> Tensor:
    """A layer's input (..., channels) as rows, of real tokens only.

    Parameters
    ----------
    mask : (N, S), 1 at real tokens; what isn't (N, S, C) or (N * S, C) is taken whole.
    """
    rows = values.reshape(-1, values.shape[-1])
    if mask is None or values.shape[:-1] not in (mask.shape, (mask.numel(),)):
        return rows
    return rows[mask.reshape(-1).bool()]


class _Watcher:
    """Keeps the rows that drew the largest random numbers: an even sample of a stream."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(_SEED)
        self._kept: Mapping[str, Tensor] = {}

    def add(self, rows: Tensor) -> None:
        if not len(rows):
            return
        drawn = torch.rand(len(rows), generator=self._generator, dtype=torch.float64)
        # Rows that can't stay among those kept needn't be copied.
        some = torch.topk(drawn, min(ROWS, len(rows))).indices.sort().values
        new = {"low": rows, "high": rows, "rows": rows[some], "drawn": drawn[some]}
        old = self._kept or {name: values[:0] for name, values in new.items()}
        drawn, rows = (torch.cat([old[name], new[name]]) for name in ("drawn", "rows"))
        best = torch.topk(drawn, min(ROWS, len(drawn))).indices.sort().values
        self._kept = {
            "low": torch.cat([old["low"], new["low"]]).amin(0, keepdim=True),
            "high": torch.cat([old["high"], new["high"]]).amax(0, keepdim=True),
            "rows": rows[best],
            "drawn": drawn[best],
        }

    def seen(self, path: str) -> Inputs:
        if not self._kept:
            raise StageError(f"no calibration sample reached {path!r}.")
        found = Inputs(self._kept["low"][0], self._kept["high"][0], self._kept["rows"])
        if not (found.low.isfinite() & found.high.isfinite()).all():
            raise StageError(f"{path!r} is given what isn't finite on the calibration samples.")
        return found
