"""Builds INT8 candidates, measures them, and keeps the fastest that is good enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compress.errors import StageError
from compress.measurement.results import NOISE
from compress.quantization.evaluation import fastest
from compress.stages.quantize.attempts import attempt, attempted
from compress.stages.quantize.candidates import CandidateSpec, Kind

if TYPE_CHECKING:
    from compress.graph_variants.variants import GraphVariant
    from compress.measurement.results import Evaluation
    from compress.quantization.evaluation import Candidate, Evaluator
    from compress.quantization.integers import Integers
    from compress.stages.quantize.candidates import CandidateBuilder

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
    """

    builder: CandidateBuilder
    evaluator: Evaluator
    variants: Sequence[GraphVariant]
    kinds: Sequence[tuple[Kind, Integers]]
    improvements: Sequence[Improve]
    last: tuple[Kind, Integers] | None = None

    def run(self) -> SearchResult:
        """Find the best spec of each kind, then improve those that lose too much."""
        specs = self._best_of_kinds()
        evaluations = self._judge(specs)
        best = fastest(evaluations[1:])
        bar = 0.0 if best is None else best.pace * (1 + NOISE)
        measured = zip(specs, evaluations[1:], strict=True)
        hopeful = [(-e.pace, spec) for spec, e in measured if not e.fits and e.pace > bar]
        better: list[CandidateSpec] = []
        for _, spec in sorted(hopeful, key=lambda each: each[0]):
            if not spec.stores:
                better += self._improve(spec)
        better += self._last_if_none_fits([*specs, *better])
        if better:
            specs = [*specs, *(spec for spec in better if spec not in specs)]
            evaluations = self._judge(specs)
            best = fastest(evaluations[1:])
        measured = zip(specs, evaluations[1:], strict=True)
        chosen = next((spec for spec, each in measured if each is best), None)
        notes = [] if chosen is None else float_costs(chosen, specs, evaluations, self.builder)
        return SearchResult(chosen, [self._candidate(spec) for spec in specs], evaluations, notes)

    def _last_if_none_fits(self, specs: Sequence[CandidateSpec]) -> list[CandidateSpec]:
        """Return a spec of the last kind, if no other spec is good enough and it can be made."""
        if self.last is None or any(self._fits(spec) for spec in specs):
            return []
        kind, integers = self.last
        made = attempt(
            kind,
            lambda: self._fastest_variant(kind, integers),
            left_out=self.builder.left_out,
        )
        return [] if made is None else [made]

    def _fits(self, spec: CandidateSpec) -> bool:
        return self.evaluator.fits(self._candidate(spec).path)

    def _judge(self, specs: Sequence[CandidateSpec]) -> list[Evaluation]:
        return self.evaluator.judge([self._candidate(spec) for spec in specs])

    def _candidate(self, spec: CandidateSpec) -> Candidate:
        return self.builder.candidate(spec)

    def _best_of_kinds(self) -> list[CandidateSpec]:
        """Return the best spec of each kind that can be made and runs.

        Raises
        ------
        StageError : no kind can be made; the message gives the reason of the last.
        """
        specs = []
        for number, (kind, integers) in enumerate(self.kinds, start=1):
            try:
                spec = self._fastest_variant(kind, integers)
                specs.append(best_method(spec, self.builder, self.evaluator))
            except StageError as error:
                if number == len(self.kinds) and not specs:
                    raise
                what = kind if kind == "storage-8" else f"{kind}, {integers},"
                self.builder.left_out.append(f"{what} is left out: {error}")
        return specs

    def _fastest_variant(self, kind: Kind, integers: Integers) -> CandidateSpec:
        """Return a spec on the fastest variant; accuracy doesn't depend on the variant."""
        every = [first_spec(kind, variant, integers, self.builder) for variant in self.variants]
        specs = those_that_run(every, self.builder, self.evaluator)
        if len(specs) == 1:
            return specs[0]
        paces = self.evaluator.paces([self._candidate(spec) for spec in specs])
        best = specs[0]
        for spec in specs[1:]:
            if paces[spec.name] > paces[best.name] * (1 + NOISE):
                best = spec
        return best

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


def those_that_run(
    specs: Sequence[CandidateSpec], builder: CandidateBuilder, evaluator: Evaluator
) -> list[CandidateSpec]:
    """Return the specs that can be made and run; a note tells why another doesn't.

    Raises
    ------
    StageError : none can; the message gives the reason of the last.
    """
    running: list[CandidateSpec] = []
    failed: dict[str, StageError] = {}
    for spec in specs:
        try:
            with attempted():
                evaluator.try_out(builder.candidate(spec).path)
        except StageError as error:
            failed[spec.name] = error
        else:
            running.append(spec)
    if not running:
        raise failed[specs[-1].name]
    builder.left_out += [f"{name} is left out: {error}" for name, error in failed.items()]
    return running


def first_spec(
    kind: Kind, variant: GraphVariant, integers: Integers, builder: CandidateBuilder
) -> CandidateSpec:
    """Return a spec, with the first calibration method where its activations have fixed scales."""
    spec = CandidateSpec(kind, variant, integers)
    if not spec.calibrated:
        return spec
    return replace(spec, calibration=builder.calibration_methods[0])


def best_method(
    spec: CandidateSpec, builder: CandidateBuilder, evaluator: Evaluator
) -> CandidateSpec:
    """Return the spec with the most accurate calibration method; all are equally fast.

    Raises
    ------
    StageError : it can't be made or run with any method.
    """
    if spec.calibration is None:
        return those_that_run([spec], builder, evaluator)[0]
    every = [replace(spec, calibration=method) for method in builder.calibration_methods]
    specs = those_that_run(every, builder, evaluator)
    if len(specs) == 1:
        return specs[0]
    return min(specs, key=lambda each: evaluator.loss(builder.candidate(each).path))


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
