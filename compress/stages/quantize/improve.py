"""Improves the accuracy of a spec of a quantize stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.artifact import Format
from compress.errors import StageError
from compress.exporting.checked import export_artifact, real_batches
from compress.onnx_graph.files import load_graph
from compress.quantization.adaround.round import optimize_rounding
from compress.quantization.bias_correction.correct import correct_biases
from compress.quantization.equalization.equalize import equalize
from compress.quantization.mixed_precision.fallback import return_to_float
from compress.quantization.mixed_precision.sqnr import signal_to_noise
from compress.quantization.selection import convolution_share
from compress.quantization.smoothquant.smooth import smooth
from compress.stages.quantize.attempts import attempt
from compress.stages.quantize.candidates import CandidateBuilder, CandidateSpec
from compress.stages.quantize.search import Improve

if TYPE_CHECKING:
    from compress.graph_variants.variants import GraphVariant
    from compress.quantization.evaluation import Evaluator
    from compress.stages.quantize.options import Improvement

_RANKED_SAMPLES = 64
_FLOAT_SHARE = 4
"""At most one node in this many goes back to float."""


def improvements(
    wanted: Sequence[Improvement] | None, builder: CandidateBuilder, evaluator: Evaluator
) -> list[Improve]:
    """Return the wanted improvements in their order; None means all that suit the artifact."""
    known: dict[Improvement, Improve] = {
        "smoothquant": SmoothQuant(builder),
        "equalize": Equalize(builder),
        "bias_correction": BiasCorrection(builder),
        "adaround": AdaRound(builder),
        "float_fallback": FloatFallback(builder, evaluator),
    }
    if (
        wanted is not None
        and "smoothquant" in wanted
        and builder.artifact.format is not Format.TORCH
    ):
        raise StageError(
            "'smoothquant' is folded into the torch module, and this stage was given an ONNX file. "
            "Put 'quantize' before 'export'."
        )
    names = _worth_trying(builder, evaluator) if wanted is None else wanted
    return [Attempt(name, known[name], builder) for name in names]


def _worth_trying(builder: CandidateBuilder, evaluator: Evaluator) -> list[Improvement]:
    """Return the improvements that suit the model, the cheap ones first.

    A transformer has no chains of convolutions; a CNN has no outliers to fold.
    """
    if convolution_share(load_graph(evaluator.source)) > 0.5:
        return ["bias_correction", "equalize", "adaround", "float_fallback"]
    if builder.artifact.format is Format.TORCH:
        return ["smoothquant", "float_fallback"]
    return ["float_fallback"]


@dataclass
class Attempt:
    """An improvement that is left out, with a note, where a spec doesn't allow it."""

    name: Improvement
    improve: Improve
    builder: CandidateBuilder

    def __call__(self, spec: CandidateSpec) -> Sequence[CandidateSpec]:
        """Return the improvement's specs; none where the spec doesn't allow it."""
        what = f"{self.name!r} of {spec.name}"
        made = attempt(what, lambda: self.improve(spec), left_out=self.builder.left_out)
        return made or []


@dataclass
class SmoothQuant:
    """SmoothQuant: moves outliers of activations into weights in torch, and exports again."""

    builder: CandidateBuilder

    def __call__(self, spec: CandidateSpec) -> Sequence[CandidateSpec]:
        """Return the spec of the smoothed module."""
        builder = self.builder
        artifact, context = builder.artifact, builder.context
        made = smooth(
            artifact.require_module(),
            task=context.task,
            batches=builder.batches(),
            integers=spec.integers,
            progress=context.progress,
        )
        path = builder.folder / "smoothed.onnx"
        export_artifact(artifact.with_module(made.module), context, path)
        variant = builder.variant_like(spec.variant, path)
        return [replace(spec, variant=_renamed(variant, "smoothed", made.notes))]


@dataclass
class Equalize:
    """Evens out the channels' ranges of consecutive convolutions."""

    builder: CandidateBuilder

    def __call__(self, spec: CandidateSpec) -> Sequence[CandidateSpec]:
        """Return the spec of the equalised graph."""
        path = self.builder.beside(spec, "equalized")
        notes = equalize(spec.variant.path, path=path, batches=self.builder.batches())
        return [
            replace(spec, variant=_renamed(replace(spec.variant, path=path), "equalized", notes))
        ]


@dataclass
class BiasCorrection:
    """Subtracts the mean error of every layer from its bias."""

    builder: CandidateBuilder

    def __call__(self, spec: CandidateSpec) -> Sequence[CandidateSpec]:
        """Return the spec with corrected biases; none where activations have no fixed scales."""
        if spec.kind != "static":
            return []
        builder = self.builder
        path = builder.beside(spec, "corrected")
        notes = correct_biases(
            spec.variant.path,
            builder.candidate(spec).path,
            path=path,
            batches=builder.batches(),
            progress=builder.context.progress,
        )
        variant = _renamed(replace(spec.variant, path=path), "biases corrected", notes)
        return [replace(spec, variant=variant, ranged=spec.ranged or spec.variant)]


@dataclass
class AdaRound:
    """AdaRound: rounds every weight up or down, so that its layer's output changes least."""

    builder: CandidateBuilder

    def __call__(self, spec: CandidateSpec) -> Sequence[CandidateSpec]:
        """Return the spec with rounded weights; none where activations have no fixed scales."""
        if spec.kind != "static":
            return []
        builder = self.builder
        path = builder.beside(spec, "rounded")
        notes = optimize_rounding(
            spec.variant.path,
            path=path,
            selection=builder.selection(spec),
            ranges=builder.ranges(spec),
            integers=spec.integers,
            batches=builder.batches(),
            per_channel=builder.per_channel,
            progress=builder.context.progress,
        )
        variant = _renamed(replace(spec.variant, path=path), "rounding optimized", notes)
        return [replace(spec, variant=variant, ranged=spec.ranged or spec.variant)]


@dataclass
class FloatFallback:
    """Float fallback: nodes go back to float, the noisiest (when quantized alone) first."""

    builder: CandidateBuilder
    evaluator: Evaluator

    def __call__(self, spec: CandidateSpec) -> Sequence[CandidateSpec]:
        """Yield a spec for each further node in float, up to the first spec that fits."""
        builder = self.builder
        if self.evaluator.fits(builder.candidate(spec).path):
            return []
        nodes = builder.weighted_nodes(spec)
        ranking = signal_to_noise(
            spec.variant.path,
            nodes,
            build=lambda names, path: builder.quantize_only(spec, names, path),
            batches=real_batches(builder.artifact, builder.context, samples=_RANKED_SAMPLES),
            threads=builder.context.threads,
            progress=builder.context.progress,
        )
        builder.noise.update(ranking)
        specs = {}

        def build(names: Sequence[str]) -> Path:
            made = replace(spec, kept=(*spec.kept, *names))
            path = builder.candidate(made).path
            specs[path] = made
            return path

        steps = return_to_float(
            list(ranking),
            build=build,
            good=self.evaluator.fits,
            most=max(1, len(nodes) // _FLOAT_SHARE),
        )
        return [specs[step.path] for step in steps]


def _renamed(variant: GraphVariant, what: str, notes: Sequence[str]) -> GraphVariant:
    """Return the variant with a change added to its name, and with notes on it."""
    return replace(variant, name=f"{variant.name}, {what}", notes=(*variant.notes, *notes))
