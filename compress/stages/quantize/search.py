"""Builds INT8 candidates, measures them, and keeps the fastest that is good enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compress.measurement.results import NOISE, at
from compress.quantization.evaluation import fastest
from compress.stages.quantize.attempts import attempt
from compress.stages.quantize.candidates import CandidateSpec, Kind
from compress.stages.quantize.doubts import chosen, settled
from compress.stages.quantize.race import Race

if TYPE_CHECKING:
    from compress.core.progress import Advance
    from compress.graph_variants.variants import GraphVariant
    from compress.measurement.results import Evaluation
    from compress.quantization.evaluation import Candidate, Evaluator
    from compress.quantization.integers import Integers
    from compress.stages.quantize.candidates import CandidateBuilder

_LAST_STEPS = 2
"""The measurement of what is left, and its improvement."""
Improve = Callable[[CandidateSpec], Sequence[CandidateSpec]]
"""A function from a spec that loses too much to better specs, in the order of making."""


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Attributes
    ----------
    spec : the chosen spec; None if none is good enough.
    candidates : the finalists.
    evaluations : evaluations of the float model, and then of each finalist.
    notes : the cost of each node that fell back to float.
    """

    spec: CandidateSpec | None
    candidates: list[Candidate]
    evaluations: list[Evaluation]
    notes: list[str]


@dataclass
class Search:
    """A search over kinds of INT8 and variants of one graph.

    Parameters
    ----------
    variants : variants of the float graph, the plain one first.
    kinds : kinds to try, each with its 8-bit types; among equally fast kinds the first is kept.
    improvements : improvements to try in turn on a spec that is fast but loses too much.
    last : a kind to try if no other is good enough; None for none.
    mix : see `Race`.
    """

    builder: CandidateBuilder
    evaluator: Evaluator
    variants: Sequence[GraphVariant]
    kinds: Sequence[tuple[Kind, Integers]]
    improvements: Sequence[Improve]
    last: tuple[Kind, Integers] | None = None
    mix: bool = True

    def run(self) -> SearchResult:
        """Find the specs that are fast, then improve those that lose too much."""
        steps = Race.steps(self.kinds) + _LAST_STEPS
        with self.builder.context.progress.track("choosing the fastest form", steps) as advance:
            return self._run(advance)

    def _run(self, advance: Advance) -> SearchResult:
        race = Race(self.builder, self.evaluator, self.variants, self.kinds, advance, self.mix)
        specs = race.run()
        evaluations = self._judge(specs)
        advance(info="measured")
        better = self._improved(specs, evaluations)
        better += self._last_if_none_fits([*specs, *better], race)
        if better:
            specs = [*specs, *(spec for spec in better if spec not in specs)]
            evaluations = self._judge(specs)
        found = settled(
            dict(zip(specs, evaluations[1:], strict=True)),
            judge=lambda few: self._judge(few)[1:],
            instead=lambda spec: self._instead(spec, race),
        )
        advance()
        specs, evaluations = list(found), [evaluations[0], *found.values()]
        best = chosen(found)
        notes = [] if best is None else float_costs(best, specs, evaluations, self.builder)
        return SearchResult(best, [self._candidate(spec) for spec in specs], evaluations, notes)

    def _instead(self, spec: CandidateSpec, race: Race) -> list[CandidateSpec]:
        """Return what may take the place of a slow spec: parts of it in float, and storage."""
        if spec.stores:
            return []
        stored = [each for each in self.kinds if each[0] == "storage-8"]
        return [
            *(() if spec.kept else race.mixes(spec).values()),
            *(draft for each in stored for draft in self._drafted(*each, race)),
        ]

    def _improved(
        self, specs: Sequence[CandidateSpec], evaluations: Sequence[Evaluation]
    ) -> list[CandidateSpec]:
        """Return better specs of those that would be the fastest but lose too much."""
        best = fastest(evaluations[1:])
        bar = 0.0 if best is None else best.pace * (1 + NOISE)
        measured = zip(specs, evaluations[1:], strict=True)
        hopeful = [
            (-e.pace, spec)
            for spec, e in measured
            if not e.fits and e.pace > bar and (best is None or not e.slow_batches)
        ]
        better: list[CandidateSpec] = []
        for _, spec in sorted(hopeful, key=lambda each: each[0]):
            if not spec.stores and spec.kind != "nncf":  # which has improvements of its own
                better += self._improve(spec)
        return better

    def _last_if_none_fits(self, specs: Sequence[CandidateSpec], race: Race) -> list[CandidateSpec]:
        """Return a spec of the last kind, if no other spec is good enough and it can be made."""
        if self.last is None or any(self._fits(spec) for spec in specs):
            return []
        return self._drafted(*self.last, race)

    def _drafted(self, kind: Kind, integers: Integers, race: Race) -> list[CandidateSpec]:
        """Return a draft of a kind; none, with a note, if it can't be made."""
        made = attempt(kind, lambda: race.draft(kind, integers), left_out=self.builder.left_out)
        return [] if made is None else [made]

    def _fits(self, spec: CandidateSpec) -> bool:
        return self.evaluator.fits(self._candidate(spec).path)

    def _judge(self, specs: Sequence[CandidateSpec]) -> list[Evaluation]:
        return self.evaluator.judge([self._candidate(spec) for spec in specs])

    def _candidate(self, spec: CandidateSpec) -> Candidate:
        return self.builder.candidate(spec)

    def _improve(self, spec: CandidateSpec) -> list[CandidateSpec]:
        """Return the specs on the way to one that fits, each better than the one before."""
        kept: list[CandidateSpec] = []
        current = spec
        for improve in self.improvements:
            for made in improve(current):
                loss = self._loss(made)
                if loss is None:
                    continue
                if loss < self.evaluator.loss(self._candidate(current).path):
                    kept.append(made)
                    current = made
                if self._fits(made):
                    return kept
        return kept

    def _loss(self, spec: CandidateSpec) -> float | None:
        """The loss of a spec; None, with a note, if it can't be made or doesn't run."""

        def work() -> float:
            path = self._candidate(spec).path
            self.evaluator.try_out(path)
            return self.evaluator.loss(path)

        return attempt(spec.name, work, left_out=self.builder.left_out)


def float_costs(
    chosen: CandidateSpec,
    specs: Sequence[CandidateSpec],
    evaluations: Sequence[Evaluation],
    builder: CandidateBuilder,
) -> list[str]:
    """Return a line with the cost of each of a spec's nodes in float, in the order of fallback.

    Parameters
    ----------
    evaluations : evaluations of the float model, and then of each spec.
    """
    found = dict(zip(specs, evaluations[1:], strict=True))
    lines = []
    for count in range(1, len(chosen.kept) + 1):
        after = found.get(replace(chosen, kept=chosen.kept[:count]))
        before = found.get(replace(chosen, kept=chosen.kept[: count - 1]))
        node = chosen.kept[count - 1]
        noise = builder.noise.get(node)
        if noise is None and after is None:  # a part that is in float for speed
            continue
        words = [f"{node} stays in float"]
        if noise is not None:
            words.append(f"quantized alone it leaves the answers at {noise:.1f} dB")
        if after is not None and before is not None:
            words += [
                f"it costs {after.latency_ms[load].p50 - latency.p50:+.3f} ms {at(load)}"
                for load, latency in before.latency_ms.items()
            ]
        lines.append("; ".join(words))
    return lines
