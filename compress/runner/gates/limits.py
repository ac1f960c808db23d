"""Judges one row by the limits that a recipe sets on its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.errors import StageError
from compress.report.document import GateResult
from compress.report.words import gate

if TYPE_CHECKING:
    from compress.recipe.gates.limit import Limit
    from compress.report.document import Row


def judge_limits(limits: Sequence[Limit], row: Row, *, whole_run: bool = False) -> list[GateResult]:
    """Return the results of the limits for one row.

    Parameters
    ----------
    whole_run : take the limits that name no stage, and judge the row as the run's last one;
        otherwise take those that name the row's stage.

    Raises
    ------
    StageError : a figure that is limited wasn't measured.
    """
    figures = row.model_dump(mode="json")
    wanted = None if whole_run else row.name
    return [_result(limit, figures, row.name) for limit in limits if limit.stage == wanted]


def said(result: GateResult) -> str:
    """Return a failed gate as part of a sentence."""
    name, value, limit = gate(result)
    return f"{name} is {value}, and must be {limit}"


def _result(limit: Limit, figures: Mapping[str, Any], row: str) -> GateResult:
    found = limit.of
    value = _at(figures, found.path)
    if value is None:
        raise StageError(
            f"the gate on {found.name!r} can't be judged: no such figure was measured of {row!r}."
        )
    interval = None
    if limit.confident and found.interval is not None:
        interval = _at(figures, found.interval)
        if interval is None:
            raise StageError(
                f"the gate on {found.name!r} can't be judged with confidence: there is no interval "
                f"of {row!r}."
            )
    low, high = interval or (value, value)
    passed = low >= limit.value if limit.bound == "at_least" else high <= limit.value
    return GateResult(
        name=found.name,
        limit=limit.value,
        value=value,
        passed=passed,
        row=row,
        bound=limit.bound,
        then=limit.then,
        ci95=None if interval is None else (low, high),
    )


def _at(figures: Any, path: Sequence[str]) -> Any:
    """The value at the end of a path of keys; None if there is none."""
    for key in path:
        if not isinstance(figures, Mapping) or key not in figures:
            return None
        figures = figures[key]
    return figures
