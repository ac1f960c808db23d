"""How a recipe's limits go together with its stages, its task and what it measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from compress.core.artifact import Format
from compress.errors import expected, unknown
from compress.measurement.spec import MeasureSpec
from compress.recipe.gates.limit import Limit
from compress.recipe.order import misfits_in
from compress.stages.contract import Stage


class NamedStage(NamedTuple):
    """A stage of a recipe: the name of its row, its registered name, and its class."""

    name: str
    use: str
    kind: type[Stage]


def limits_misfit(
    limits: Sequence[Limit],
    *,
    stages: Sequence[NamedStage],
    first: Format,
    measure: MeasureSpec,
    generates: bool,
) -> Iterator[tuple[int, str, str]]:
    """Yield the index, the key and the problem of limits that can't be judged or acted on.

    Parameters
    ----------
    first : format of the recipe's model.
    generates : whether the task generates text.
    """
    for index, limit in enumerate(limits):
        problem = _unmeasured(limit, measure, generates=generates)
        if problem is not None:
            yield index, "figure", problem
        if limit.stage is None:
            continue
        place = next((at for at, one in enumerate(stages) if one.name == limit.stage), None)
        if place is None:
            known = [one.name for one in stages]
            yield index, "stage", unknown("stage", limit.stage, known)
        elif limit.then == "roll_back":
            problem = _kept(stages, place, first)
            if problem is not None:
                yield index, "then", f"{limit.stage!r} can't be rolled back: {problem}"


def _unmeasured(limit: Limit, measure: MeasureSpec, *, generates: bool) -> str | None:
    """Return why a figure won't be measured; None if it may be."""
    found = limit.of
    sizes = [str(size) for size in measure.batch_sizes]
    for key in ("latency_ms", "speedup", "speedup_vs_onnxruntime"):
        size = None if found.path[0] == "generation" else found.part(key)
        if size is not None and size not in sizes:
            return expected("figure", f"of a batch size that is measured: {', '.join(sizes)}", size)
    runtime = found.part("runtimes")
    if runtime is not None and runtime not in measure.runtimes:
        allowed = f"of a runtime that is measured: {', '.join(measure.runtimes)}"
        return expected("figure", allowed, runtime)
    if found.path[0] == "generation" and not generates:
        return f"'figure' {found.name!r} is only for tasks that generate text."
    return None


def _kept(stages: Sequence[NamedStage], place: int, first: Format) -> str | None:
    """Return why a run can't go on from the model before a stage; None if it can."""
    if stages[place].kind.makes_reference:
        return "its model is the reference of all that follows."
    if stages[place].use == "export":
        return "it changes no model. Use 'stop'."
    rest = [(one.use, one.kind) for at, one in enumerate(stages) if at != place]
    return next((f"without it, {sentence}" for _, sentence in misfits_in(rest, first)), None)
