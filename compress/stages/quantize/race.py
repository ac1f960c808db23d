"""A race of drafts: a few rounds of timing leave those that could be the fastest good one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compress.errors import StageError
from compress.measurement.results import NOISE
from compress.quantization.evaluation import Pace
from compress.stages.quantize.attempts import attempted
from compress.stages.quantize.candidates import CandidateSpec, Kind
from compress.stages.quantize.parts import float_parts

if TYPE_CHECKING:
    from compress.core.progress import Advance
    from compress.graph_variants.variants import GraphVariant
    from compress.quantization.evaluation import Evaluator
    from compress.quantization.integers import Integers
    from compress.stages.quantize.candidates import CandidateBuilder


@dataclass
class Race:
    """The drafts of all kinds, of which each round of timing drops some.

    Parameters
    ----------
    variants : variants of the float graph, the plain one first.
    kinds : kinds to try, each with its 8-bit types.
    advance : is called `steps` times; what comes in addition, if much is lost, isn't counted.
    mix : try static drafts with a part in float.
    """

    builder: CandidateBuilder
    evaluator: Evaluator
    variants: Sequence[GraphVariant]
    kinds: Sequence[tuple[Kind, Integers]]
    advance: Advance
    mix: bool = True

    @staticmethod
    def steps(kinds: Sequence[tuple[Kind, Integers]]) -> int:
        """Return the number of steps of a race: each kind is made, and then judged."""
        return 2 * len({kind for kind, _ in kinds})

    def run(self) -> list[CandidateSpec]:
        """Return the specs that could be the fastest within the budget, in the order of the kinds.

        All drafts are made of the variant on which the first kind is fastest, with the first 8-bit
        types of each kind; the other types only where a kind loses too much with those. Drafts
        that turn out to be fast are then tried on the other variants, and with a part in float.

        Raises
        ------
        StageError : no kind can be made; the message gives the reason of the last.
        """
        first = dict(reversed(self.kinds))
        drafts = self._drafts(list(reversed(first.items())), advance=self.advance)
        paces = self._paces(drafts)
        kept = self._hopeful(drafts, paces, advance=self.advance)
        self.advance(len(first) - len(drafts))
        losing = {spec.kind for spec in kept.values() if not self._fits(spec)}
        others = [(k, each) for k, each in self.kinds if k in losing and each is not first[k]]
        if others:
            drafts += self._drafts(others, variant=drafts[0].variant, advance=_uncounted)
            paces = self._paces(drafts)
            kept = self._hopeful(drafts, paces, advance=_uncounted)
        return [
            self._mixed(self._on_its_variant(kept[draft], paces[draft]))
            for draft in drafts
            if draft in kept
        ]

    def draft(self, kind: Kind, integers: Integers) -> CandidateSpec:
        """Return a draft of a kind on the variant on which it is fastest.

        Raises
        ------
        StageError : it can't be made or run on any variant.
        """
        every = [first_spec(kind, variant, integers, self.builder) for variant in self.variants]
        specs = those_that_run(every, self.builder, self.evaluator)
        return self._fastest(specs)

    def _drafts(
        self,
        kinds: Sequence[tuple[Kind, Integers]],
        *,
        advance: Advance,
        variant: GraphVariant | None = None,
    ) -> list[CandidateSpec]:
        """Return a draft of each kind that can be made and runs.

        They are made of a variant; None for the one on which the first of them is fastest.
        """
        drafts: list[CandidateSpec] = []
        for number, (kind, integers) in enumerate(kinds, start=1):
            try:
                if variant is None:
                    drafts.append(self.draft(kind, integers))
                    variant = drafts[0].variant
                else:
                    spec = first_spec(kind, variant, integers, self.builder)
                    drafts += those_that_run([spec], self.builder, self.evaluator)
            except StageError as error:
                if number == len(kinds) and variant is None:
                    raise
                what = kind if kind == "storage-8" else f"{kind}, {integers},"
                self.builder.left_out.append(f"{what} is left out: {error}")
            advance(info=str(kind))
        return drafts

    def _hopeful(
        self,
        drafts: Sequence[CandidateSpec],
        paces: dict[CandidateSpec, Pace],
        *,
        advance: Advance,
    ) -> dict[CandidateSpec, CandidateSpec]:
        """Return the drafts that aren't slower than another one that is good enough.

        The quality of a draft is measured only if its pace leaves it a chance.

        Returns
        -------
        By draft, the same with the best calibration method.
        """
        kept, bar = {}, 0.0
        for draft in sorted(drafts, key=lambda each: -paces[each].value):
            advance(info=draft.name)
            if paces[draft].high < bar:
                self.builder.dropped.append(f"{draft.name} ({paces[draft]})")
                continue
            kept[draft] = best_method(draft, self.builder, self.evaluator)
            if paces[draft].never_slower and self._fits(kept[draft]):
                bar = max(bar, paces[draft].low / (1 + NOISE))
        return kept

    def _fits(self, spec: CandidateSpec) -> bool:
        return self.evaluator.fits(self.builder.candidate(spec).path)

    def _on_its_variant(self, spec: CandidateSpec, pace: Pace) -> CandidateSpec:
        """Return a fast INT8 spec on the variant that suits it best."""
        others = [variant for variant in self.variants if variant is not spec.variant]
        if spec.stores or pace.value <= 1 + NOISE or not others:
            return spec
        every = [spec, *(replace(spec, variant=variant) for variant in others)]
        return self._fastest(those_that_run(every, self.builder, self.evaluator))

    def mixes(self, spec: CandidateSpec) -> dict[str, CandidateSpec]:
        """Return a spec with parts in float, by what these are; only those that run."""
        if spec.method != "static" or not self.mix:
            return {}
        parts = float_parts(spec, self.builder)
        mixed = {what: replace(spec, kept=nodes) for what, nodes in parts.items()}
        running = those_that_run([spec, *mixed.values()], self.builder, self.evaluator)
        return {what: each for what, each in mixed.items() if each in running}

    def _mixed(self, spec: CandidateSpec) -> CandidateSpec:
        """Return a static spec with a part of it in float, if that is faster."""
        mixes = self.mixes(spec)
        found = self._fastest([spec, *mixes.values()])
        self.builder.left_out += [
            f"{found.name}: {what} stay in float, which is faster"
            for what, mixed in mixes.items()
            if found == mixed
        ]
        return found

    def _fastest(self, specs: Sequence[CandidateSpec]) -> CandidateSpec:
        """Return the fastest spec; a later one must be faster by more than noise.

        One that is slower than the float model at a batch size is taken only if all are.
        """
        if len(specs) == 1:
            return specs[0]
        paces = self._paces(specs)
        allowed = [spec for spec in specs if paces[spec].never_slower] or specs
        best = allowed[0]
        for spec in allowed[1:]:
            if paces[spec].value > paces[best].value * (1 + NOISE):
                best = spec
        return best

    def _paces(self, specs: Sequence[CandidateSpec]) -> dict[CandidateSpec, Pace]:
        if len(specs) == 1:
            return dict.fromkeys(specs, Pace({"": (1.0, (1.0, 1.0))}))
        paths = {spec: self.builder.candidate(spec).path for spec in specs}
        found = self.evaluator.paces(paths.values())
        return {spec: found[path] for spec, path in paths.items()}


def _uncounted(steps: int = 1, *, info: str = "") -> None:
    """Report nothing, for steps that aren't among those announced."""


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
