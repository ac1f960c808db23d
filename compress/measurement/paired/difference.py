"""The difference of two models' quality over the same samples, with its test, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compress.errors import StageError
from compress.measurement.intervals import LEVEL
from compress.measurement.paired.bootstrap import paired_bootstrap
from compress.measurement.paired.mcnemar import (
    Discordant,
    exact_p,
    score_interval,
    smallest_significant,
)
from compress.measurement.results import Difference, Interval, Quality, Verdict

if TYPE_CHECKING:
    from compress.measurement.paired.kept import KeptAnswers

MATTERS = 0.02
"""A difference below this counts as none: two points, or 2 % of a value that is above 1 or where
less is better."""


def difference(this: KeptAnswers, other: KeptAnswers) -> Difference:
    """Compare two models by what was kept of their answers to the same samples.

    The same answers, of a file that wasn't measured twice, differ by 0 without any doubt.

    Raises
    ------
    StageError : they weren't measured by the same metric on the same samples.
    """
    problem = unpaired(this, other)
    if problem is not None:
        raise StageError(f"two models can't be compared sample by sample: {problem}.")
    ours, theirs = this.quality, other.quality
    change = ours.value - theirs.value
    if this.held is not None and other.held is not None:
        found = Discordant(
            gained=int((this.held & ~other.held).sum()),
            lost=int((other.held & ~this.held).sum()),
            samples=len(this.held),
        )
        ci95, p_value = score_interval(found), exact_p(found)
        smallest = smallest_significant(found)
    else:
        changes = this.require_draws() - other.require_draws()
        changes = changes[np.isfinite(changes)]
        ci95, p_value = paired_bootstrap(changes, samples=ours.samples)
        smallest = (ci95[1] - ci95[0]) / 2
    if this is other:
        ci95 = (0.0, 0.0)
    return Difference(
        change=change,
        ci95=ci95,
        p_value=p_value,
        test="bootstrap" if this.held is None or other.held is None else "mcnemar",
        verdict=in_words(change, ci95, p_value, than=theirs),
        smallest=smallest,
        samples=ours.samples,
        agreement=this.agreement(other),
    )


def unpaired(this: KeptAnswers, other: KeptAnswers) -> str | None:
    """Return why two models can't be compared sample by sample; None if they can."""
    ours, theirs = this.quality, other.quality
    if ours.metric != theirs.metric:
        return f"the metrics are {ours.metric} and {theirs.metric}"
    if ours.samples != theirs.samples:
        return f"they answered {ours.samples:,} and {theirs.samples:,} samples"
    if this.test_data != other.test_data:
        return "they answered different test samples"
    if this.held is None or other.held is None:
        drawn = [0 if each.draws is None else len(each.draws) for each in (this, other)]
        if not all(drawn):
            return f"{ours.metric} keeps nothing of its samples"
        if drawn[0] != drawn[1]:
            return f"their intervals are of {drawn[0]:,} and {drawn[1]:,} resamples"
    return None


def in_words(change: float, ci95: Interval, p_value: float, *, than: Quality) -> Verdict:
    """Return the verdict on a difference.

    Parameters
    ----------
    than : the other model's quality; says which direction is better, and what size matters.
    """
    if p_value < 1 - LEVEL:
        return "better" if (change > 0) == than.higher_is_better else "worse"
    margin = MATTERS * (max(1.0, abs(than.value)) if than.higher_is_better else abs(than.value))
    return "no difference seen" if max(-ci95[0], ci95[1]) <= margin else "too few samples to tell"
