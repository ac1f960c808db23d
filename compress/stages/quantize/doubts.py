"""Doubts whether a candidate is slower than the float model, settled by a second measurement.

One pair of files moves by a few percent from one measurement to another, by where their weights lie
in memory. So a candidate that seems slower by less than that isn't passed over for one measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from compress.measurement.results import at
from compress.quantization.evaluation import fastest

if TYPE_CHECKING:
    from compress.measurement.results import Evaluation
    from compress.stages.quantize.candidates import CandidateSpec

Judge = Callable[[Sequence["CandidateSpec"]], Sequence["Evaluation"]]
"""A function that measures specs beside the float model, anew at each call."""


def settled(
    measured: Mapping[CandidateSpec, Evaluation],
    *,
    judge: Judge,
    instead: Callable[[CandidateSpec], Sequence[CandidateSpec]],
) -> dict[CandidateSpec, Evaluation]:
    """Return the evaluations with no doubt left whether the best is slower than the float model.

    The best is measured again if it may be slower at a batch size. If all that fit are slower at
    one, so that the best is too, or was found to be, others are measured in its place.

    Parameters
    ----------
    measured : an evaluation of each spec; the earlier of two equally fast ones is kept.
    instead : specs that may take the place of one that is slower.

    Returns
    -------
    Evaluations by spec, with those of `instead` last.
    """
    found = dict(measured)
    asked: set[CandidateSpec] = set()
    while (best := chosen(found)) is not None and best not in asked:
        asked.add(best)
        if found[best].doubtful_batches:
            found[best] = _twice(found[best], judge([best])[0])
        if found[best].slow_batches:
            new = [spec for spec in instead(best) if spec not in found]
            found |= zip(new, judge(new) if new else (), strict=True)
    return found


def chosen(measured: Mapping[CandidateSpec, Evaluation]) -> CandidateSpec | None:
    """Return the spec of the fastest candidate that fits; None if none fits."""
    best = fastest(list(measured.values()))
    return next((spec for spec, each in measured.items() if each is best), None)


def _twice(first: Evaluation, second: Evaluation) -> Evaluation:
    """Return the first evaluation, with what the second says of its doubts."""
    doubts = first.doubtful_batches
    again = [f"{second.speedup[load].vs_original:.3f}x {at(load)}" for load in doubts]
    slower = {*second.doubtful_batches, *second.slow_batches}
    return replace(
        first,
        slower_twice=tuple(load for load in doubts if load in slower),
        notes=(*first.notes, f"measured again: {', '.join(again)}"),
    )
