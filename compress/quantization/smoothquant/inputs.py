"""Statistics of the inputs of linear layers: ranges of channels, and a sample of the rows."""

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
"""Number of rows of each layer's inputs that are kept."""
_SEED = 0


@dataclass(frozen=True, eq=False)
class Inputs:
    """Statistics of the inputs of one layer.

    Attributes
    ----------
    low, high : (channels,) the least and the largest value over all samples.
    rows : (at most ROWS, channels), drawn uniformly from all samples.
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
    """Run the batches through the module, and return statistics of the layers' inputs.

    Padding of texts isn't counted. Memory doesn't grow with the number of batches. If padding
    changes no answers, the batch size changes only the last bits.

    Parameters
    ----------
    layers : paths of linear layers.

    Raises
    ------
    StageError : there are no batches, or a layer's input isn't finite.
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
    mask : (N, S), 1 at real tokens; all rows are kept if values aren't (N, S, C) or (N * S, C).
    """
    rows = values.reshape(-1, values.shape[-1])
    if mask is None or values.shape[:-1] not in (mask.shape, (mask.numel(),)):
        return rows
    return rows[mask.reshape(-1).bool()]


class _Watcher:
    """Keeps the rows that drew the largest random numbers: a uniform sample of a stream."""

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
            raise StageError(f"{path!r} has inputs that aren't finite on the calibration samples.")
        return found
