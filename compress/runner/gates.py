"""Judges a run's result by the gates of its recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.report.document import GateResult

if TYPE_CHECKING:
    from compress.recipe.schema import Gates
    from compress.report.document import Row


def judge(gates: Gates, *, reference: Row, final: Row) -> list[GateResult]:
    """Compare the last row with the reference, for every gate that the recipe sets.

    `accuracy_drop` limits the absolute loss of quality, and `perplexity_ratio` the final perplexity
    relative to the reference's. `size_ratio` is the smallest allowed ratio of the reference's bytes
    to the final bytes, and `speedup` the smallest allowed speedup at the first batch size.
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
    return found


def _result(name: str, limit: float, value: float, passed: bool) -> GateResult:
    return GateResult(name=name, limit=limit, value=value, passed=passed)
