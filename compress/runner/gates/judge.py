"""Judges a run's result by the gates of its recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.report.document import GateResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compress.recipe.schema import Gates
    from compress.report.document import Row


def judge(gates: Gates, *, reference: Row, final: Row, rows: Sequence[Row]) -> list[GateResult]:
    """Compare the last row with the reference, for every gate that the recipe sets.

    `accuracy_drop` limits the absolute loss of quality, and `perplexity_ratio` the final perplexity
    relative to the reference's. `size_ratio` is the smallest allowed ratio of the reference's bytes
    to the final bytes, and `speedup` the smallest allowed speedup at the first batch size.
    `speedup_vs_previous` holds for each of `rows` at each batch size; a row fails if the whole
    interval of its speedup is below the limit.
    """
    found = []
    if gates.accuracy_drop is not None:
        change = final.quality.value - reference.quality.value
        value = -change if final.quality.higher_is_better else change
        found.append(
            _result("accuracy_drop", gates.accuracy_drop, value, value <= gates.accuracy_drop)
        )
    if gates.perplexity_ratio is not None:
        value = final.quality.value / reference.quality.value
        found.append(
            _result(
                "perplexity_ratio", gates.perplexity_ratio, value, value <= gates.perplexity_ratio
            )
        )
    if gates.size_ratio is not None:
        value = reference.size_bytes / final.size_bytes
        found.append(_result("size_ratio", gates.size_ratio, value, value >= gates.size_ratio))
    if gates.speedup is not None:
        value = next(iter(final.speedup.values())).vs_original
        found.append(_result("speedup", gates.speedup, value, value >= gates.speedup))
    if gates.speedup_vs_previous is not None:
        found += _every_step(gates.speedup_vs_previous, rows)
    return found


def _every_step(limit: float, rows: Sequence[Row]) -> list[GateResult]:
    """The result of the worst speedup over a previous row; none if there is no such speedup."""
    steps = [
        (found.vs_previous, (found.previous_ci95 or (0.0, found.vs_previous))[1])
        for row in rows
        for found in row.speedup.values()
        if found.vs_previous is not None
    ]
    if not steps:
        return []
    value, upper = min(steps, key=lambda step: step[1])
    return [_result("speedup_vs_previous", limit, value, upper >= limit)]


def _result(name: str, limit: float, value: float, passed: bool) -> GateResult:
    return GateResult(name=name, limit=limit, value=value, passed=passed)
