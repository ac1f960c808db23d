"""Builds INT8 candidates, measures them, and keeps the fastest that is good enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compress.errors import StageError
from compress.quantization.trial import MARGIN, fastest
from compress.stages.quantize.candidates import Draft, Kind

if TYPE_CHECKING:
    from compress.graph_variants.variants import Form
    from compress.measurement.results import Evaluation
    from compress.quantization.integers import Integers
    from compress.quantization.trial import Candidate, Trial
    from compress.stages.quantize.candidates import Workshop

Improve = Callable[[Draft], Sequence[Draft]]
"""A function from a draft that loses too much to better drafts, in the order of making."""


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes
    ----------
    draft : the chosen one; None where none is good enough.
    candidates : the finalists.
    evaluations : of the float model, and then of each finalist.
    notes : the cost of each node that went back to float.
    """

    draft: Draft | None
    candidates: list[Candidate]
    evaluations: list[Evaluation]
    notes: list[str]


@dataclass
class Search:
    """A search over kinds of INT8 and forms of one graph.

    Parameters
    ----------
    forms : of the float graph, the plain one first.
    kinds : to try, each with its 8-bit types; among equally fast kinds the first is kept.
    improvements : tried in turn on a draft that is fast but loses too much.
    """

    workshop: Workshop
    trial: Trial
    forms: Sequence[Form]
    kinds: Sequence[tuple[Kind, Integers]]
    improvements: Sequence[Improve]

    def run(self) -> Found:
        """Find the best draft of each kind, then improve those that lose too much."""
        drafts = self._best_of_kinds()
        evaluations = self._judge(drafts)
        best = fastest(evaluations[1:])
        bar = 0.0 if best is None else best.pace * (1 + MARGIN)
        measured = zip(drafts, evaluations[1:], strict=True)
        hopeful = [(-e.pace, draft) for draft, e in measured if not e.fits and e.pace > bar]
        better: list[Draft] = []
        for _, draft in sorted(hopeful, key=lambda each: each[0]):
            better += self._improve(draft)
        if better:
            drafts = [*drafts, *(draft for draft in better if draft not in drafts)]
            evaluations = self._judge(drafts)
            best = fastest(evaluations[1:])
        measured = zip(drafts, evaluations[1:], strict=True)
        chosen = next((draft for draft, each in measured if each is best), None)
        notes = [] if chosen is None else float_costs(chosen, drafts, evaluations, self.workshop)
        return Found(chosen, [self._candidate(draft) for draft in drafts], evaluations, notes)

    def _judge(self, drafts: Sequence[Draft]) -> list[Evaluation]:
        return self.trial.judge([self._candidate(draft) for draft in drafts])

    def _candidate(self, draft: Draft) -> Candidate:
        return self.workshop.candidate(draft)

    def _best_of_kinds(self) -> list[Draft]:
        """Return the best draft of each kind that can be made.

        Raises
        ------
        StageError : no kind can be made; the message gives the reason of the last.
        """
        drafts = []
        for number, (kind, integers) in enumerate(self.kinds, start=1):
            try:
                draft = self._fastest_form(kind, integers)
                drafts.append(best_method(draft, self.workshop, self.trial))
            except StageError as error:
                if number == len(self.kinds) and not drafts:
                    raise
                self.workshop.left_out.append(f"{kind}, {integers}, is left out: {error}")
        return drafts

    def _fastest_form(self, kind: Kind, integers: Integers) -> Draft:
        """Return a draft on the form that runs fastest; accuracy doesn't depend on the form."""
        drafts = [first_draft(kind, form, integers, self.workshop) for form in self.forms]
        if len(drafts) == 1:
            return drafts[0]
        paces = self.trial.paces([self._candidate(draft) for draft in drafts])
        best = drafts[0]
        for draft in drafts[1:]:
            if paces[draft.name] > paces[best.name] * (1 + MARGIN):
                best = draft
        return best

    def _improve(self, draft: Draft) -> list[Draft]:
        """Return the drafts on the way to one that fits, each better than the one before."""
        kept: list[Draft] = []
        current = draft
        for improve in self.improvements:
            for made in improve(current):
                path = self._candidate(made).path
                if self.trial.loss(path) < self.trial.loss(self._candidate(current).path):
                    kept.append(made)
                    current = made
                if self.trial.fits(path):
                    return kept
        return kept


def first_draft(kind: Kind, form: Form, integers: Integers, workshop: Workshop) -> Draft:
    """Return a draft, with the first calibration method where its activations have fixed scales."""
    draft = Draft(kind, form, integers)
    if not draft.calibrated:
        return draft
    return replace(draft, calibration=workshop.calibration_methods[0])


def best_method(draft: Draft, workshop: Workshop, trial: Trial) -> Draft:
    """Return the draft with the most accurate calibration method; all are equally fast."""
    if draft.calibration is None:
        return draft
    drafts = [replace(draft, calibration=method) for method in workshop.calibration_methods]
    if len(drafts) == 1:
        return drafts[0]
    return min(drafts, key=lambda each: trial.loss(workshop.candidate(each).path))


def float_costs(
    chosen: Draft, drafts: Sequence[Draft], evaluations: Sequence[Evaluation], workshop: Workshop
) -> list[str]:
    """Return a line with the cost of each of a draft's nodes in float, in the order of fallback.

    Parameters
    ----------
    evaluations : of the float model, and then of each draft.
    """
    found = dict(zip(drafts, evaluations[1:], strict=True))
    lines = []
    for count in range(1, len(chosen.kept) + 1):
        after = found.get(replace(chosen, kept=chosen.kept[:count]))
        before = found.get(replace(chosen, kept=chosen.kept[: count - 1]))
        node = chosen.kept[count - 1]
        noise = workshop.noise.get(node)
        words = [f"{node} stays in float"]
        if noise is not None:
            words.append(f"quantized alone it leaves the answers at {noise:.1f} dB")
        if after is not None and before is not None:
            words += [
                f"it costs {after.latency_ms[size].p50 - latency.p50:+.3f} ms at batch {size}"
                for size, latency in before.latency_ms.items()
            ]
        lines.append("; ".join(words))
    return lines
