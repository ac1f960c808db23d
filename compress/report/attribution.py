"""Says what each stage of a run cost, and its share of what the run gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log

from compress.measurement.results import NOISE
from compress.report.document import Attribution, Row

_LEAST = log(1 + NOISE)
"""A gain that is smaller is none, and isn't shared out."""


def attribute(rows: Sequence[Row], *, device: str | None = None) -> list[Attribution]:
    """Return an entry for each row after the first.

    A stage's part of the speedup is its own over the row before, which was measured in the same
    rounds; quotients of two rows' speedups over the reference come from different times.

    Parameters
    ----------
    rows : the reference's row and those after it.
    device : device of the run.
    """
    steps = [*pairwise(rows)]
    params = _shares([_fewer(before.params, after.params) for before, after in steps])
    size = _shares([_fewer(before.size_bytes, after.size_bytes) for before, after in steps])
    batches = list(rows[0].speedup) if rows else []
    speedup = {batch: _shares([_faster(after, batch) for _, after in steps]) for batch in batches}
    return [
        Attribution(
            index=after.index,
            name=after.name,
            seconds=after.seconds,
            device=device,
            energy_kwh=after.energy_kwh,
            quality=after.quality.value - before.quality.value,
            params=params[number],
            size=size[number],
            speedup=_known({batch: found[number] for batch, found in speedup.items()}),
        )
        for number, (before, after) in enumerate(steps)
    ]


def _fewer(before: int, after: int) -> float | None:
    return log(before / after) if before and after else None


def _faster(row: Row, batch: str) -> float | None:
    found = row.speedup.get(batch)
    return log(found.vs_previous) if found is not None and found.vs_previous else None


def _shares(gains: Sequence[float | None]) -> list[float | None]:
    """Each logarithm's share of their sum; none if one isn't known, or the sum is no gain."""
    known = [gain for gain in gains if gain is not None]
    total = sum(known)
    if len(known) < len(gains) or total < _LEAST:
        return [None] * len(gains)
    return [gain / total for gain in known]


def _known(shares: Mapping[str, float | None]) -> dict[str, float]:
    return {batch: share for batch, share in shares.items() if share is not None}
