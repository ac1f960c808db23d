"""Improves the accuracy of a draft of a quantize stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.artifact import Format
from compress.errors import StageError
from compress.exporting.checked import lower_artifact, real_batches
from compress.onnx_graph.files import load_graph
from compress.quantization.adaround.round import optimize_rounding
from compress.quantization.bias_correction.correct import correct_biases
from compress.quantization.equalization.equalize import equalize
from compress.quantization.mixed_precision.fallback import return_to_float
from compress.quantization.mixed_precision.sqnr import signal_to_noise
from compress.quantization.selection import convolution_share
from compress.quantization.smoothquant.smooth import smooth
from compress.stages.quantize.candidates import Draft, Workshop
from compress.stages.quantize.search import Improve

if TYPE_CHECKING:
    from compress.graph_variants.variants import Form
    from compress.quantization.trial import Trial
    from compress.stages.quantize.options import Improvement

_RANKED_SAMPLES = 64
_FLOAT_SHARE = 4
"""At most one node in this many goes back to float."""


def improvements(
    wanted: Sequence[Improvement] | None, workshop: Workshop, trial: Trial
) -> list[Improve]:
    """Return the wanted improvements in their order; None means all that suit the artifact."""
    known: dict[Improvement, Improve] = {
        "smooth": Smooth(workshop),
        "equalize": Equalize(workshop),
        "bias_correction": BiasCorrection(workshop),
        "rounding": Rounding(workshop),
        "float_return": FloatReturn(workshop, trial),
    }
    if wanted is not None and "smooth" in wanted and workshop.artifact.format is not Format.TORCH:
        raise StageError(
            "'smooth' is folded into the torch module, and this stage was given an ONNX file. "
            "Put 'quantize' before 'export'."
        )
    names = _worth_trying(workshop, trial) if wanted is None else wanted
    return [Attempt(name, known[name], workshop) for name in names]


def _worth_trying(workshop: Workshop, trial: Trial) -> list[Improvement]:
    """Return the improvements that suit the model, the cheap ones first.

    A transformer has no chains of convolutions; a CNN has no outliers to fold.
    """
    if convolution_share(load_graph(trial.source)) > 0.5:
        return ["bias_correction", "equalize", "rounding", "float_return"]
    if workshop.artifact.format is Format.TORCH:
        return ["smooth", "float_return"]
    return ["float_return"]


@dataclass
class Attempt:
    """An improvement that is left out, with a note, where a draft doesn't allow it."""

    name: Improvement
    improve: Improve
    workshop: Workshop

    def __call__(self, draft: Draft) -> Sequence[Draft]:
        """Return the improvement's drafts; none where the draft doesn't allow it."""
        try:
            return self.improve(draft)
        except StageError as error:
            self.workshop.left_out.append(f"{self.name!r} of {draft.name} is left out: {error}")
            return []


@dataclass
class Smooth:
    """SmoothQuant: moves outliers of activations into weights in torch, and exports again."""

    workshop: Workshop

    def __call__(self, draft: Draft) -> Sequence[Draft]:
        """Return the draft of the smoothed module."""
        workshop = self.workshop
        artifact, context = workshop.artifact, workshop.context
        made = smooth(
            artifact.require_module(),
            task=context.task,
            batches=workshop.batches(),
            integers=draft.integers,
            progress=context.progress,
        )
        path = workshop.folder / "smoothed.onnx"
        lower_artifact(artifact.with_module(made.module), context, path)
        form = workshop.form_like(draft.form, path)
        return [replace(draft, form=_renamed(form, "smoothed", made.notes))]


@dataclass
class Equalize:
    """Evens out the channels' ranges of consecutive convolutions."""

    workshop: Workshop

    def __call__(self, draft: Draft) -> Sequence[Draft]:
        """Return the draft of the equalised graph."""
        path = self.workshop.beside(draft, "equalized")
        notes = equalize(draft.form.path, path=path, batches=self.workshop.batches())
        return [replace(draft, form=_renamed(replace(draft.form, path=path), "equalized", notes))]


@dataclass
class BiasCorrection:
    """Subtracts the mean error of every layer from its bias."""

    workshop: Workshop

    def __call__(self, draft: Draft) -> Sequence[Draft]:
        """Return the draft with corrected biases; none where activations have no fixed scales."""
        if draft.kind != "static":
            return []
        workshop = self.workshop
        path = workshop.beside(draft, "corrected")
        notes = correct_biases(
            draft.form.path,
            workshop.candidate(draft).path,
            path=path,
            batches=workshop.batches(),
            progress=workshop.context.progress,
        )
        form = _renamed(replace(draft.form, path=path), "biases corrected", notes)
        return [replace(draft, form=form, ranged=draft.ranged or draft.form)]


@dataclass
class Rounding:
    """AdaRound: rounds every weight up or down, so that its layer's output changes least."""

    workshop: Workshop

    def __call__(self, draft: Draft) -> Sequence[Draft]:
        """Return the draft with rounded weights; none where activations have no fixed scales."""
        if draft.kind != "static":
            return []
        workshop = self.workshop
        path = workshop.beside(draft, "rounded")
        notes = optimize_rounding(
            draft.form.path,
            path=path,
            selection=workshop.selection(draft),
            ranges=workshop.ranges(draft),
            integers=draft.integers,
            batches=workshop.batches(),
            per_channel=workshop.per_channel,
            progress=workshop.context.progress,
        )
        form = _renamed(replace(draft.form, path=path), "rounding optimized", notes)
        return [replace(draft, form=form, ranged=draft.ranged or draft.form)]


@dataclass
class FloatReturn:
    """Float fallback: nodes go back to float, the noisiest (when quantized alone) first."""

    workshop: Workshop
    trial: Trial

    def __call__(self, draft: Draft) -> Sequence[Draft]:
        """Yield a draft for each further node in float, up to the first draft that fits."""
        workshop = self.workshop
        if self.trial.fits(workshop.candidate(draft).path):
            return []
        nodes = workshop.weighted_nodes(draft)
        ranking = signal_to_noise(
            draft.form.path,
            nodes,
            build=lambda names, path: workshop.quantize_only(draft, names, path),
            batches=real_batches(workshop.artifact, workshop.context, samples=_RANKED_SAMPLES),
            threads=workshop.context.threads,
            progress=workshop.context.progress,
        )
        workshop.noise.update(ranking)
        drafts = {}

        def build(names: Sequence[str]) -> Path:
            made = replace(draft, kept=(*draft.kept, *names))
            path = workshop.candidate(made).path
            drafts[path] = made
            return path

        steps = return_to_float(
            list(ranking),
            build=build,
            good=self.trial.fits,
            most=max(1, len(nodes) // _FLOAT_SHARE),
        )
        return [drafts[step.path] for step in steps]


def _renamed(form: Form, what: str, notes: Sequence[str]) -> Form:
    """Return the form with a change added to its name, and with notes on it."""
    return replace(form, name=f"{form.name}, {what}", notes=(*form.notes, *notes))
