"""The INT8 models that a quantize stage can make of one float model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from compress.graph_variants.variants import PLAIN, forms, plain
from compress.onnx_graph.files import load_graph
from compress.quantization.calibration.names import FOLDER
from compress.quantization.calibration.observe import observe
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.selection import WEIGHT_INPUT
from compress.quantization.static import activations, quantize_static
from compress.quantization.static_scales import fix_scales
from compress.quantization.trial import Candidate
from compress.quantization.weight_only.graph import WeightOnly
from compress.quantization.weight_only.quantize import quantize_weights

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context, Loader
    from compress.graph_variants.variants import Form
    from compress.quantization.calibration.observations import Observations
    from compress.quantization.integers import Integers
    from compress.quantization.options import Calibration, CalibrationMethod
    from compress.quantization.selection import Method, Selection
    from compress.quantization.weight_only.graph import BlockSize

Kind = Literal["dynamic", "fixed", "static", "static-qoperator", "weights-8", "weights-4"]


@dataclass(frozen=True)
class Draft:
    """The specification of one INT8 model.

    Attributes
    ----------
    kind : what is quantized, and when.
    form : the float graph that it is made from.
    integers : the 8-bit types.
    calibration : how ranges are found; None where none are needed.
    kept : nodes that stay in float.
    ranged : the form that gives the ranges of activations; None for its own.
    """

    kind: Kind
    form: Form
    integers: Integers
    calibration: CalibrationMethod | None = None
    kept: tuple[str, ...] = ()
    ranged: Form | None = None

    @property
    def name(self) -> str:
        """A description such as "static QDQ, U8S8, mse, plain, 2 nodes in float"."""
        integers = None if self.kind.startswith("weights") else str(self.integers)
        words = [_WORDS[self.kind], integers, self.calibration, self.form.name]
        kept = f"{len(self.kept)} node{'s' * (len(self.kept) > 1)} in float" if self.kept else None
        return ", ".join(word for word in (*words, kept) if word)

    @property
    def calibrated(self) -> bool:
        """True if its activations have scales from calibration samples."""
        return self.kind in ("fixed", "static", "static-qoperator")

    @property
    def has_one_scale(self) -> bool:
        """True if each weight has one scale, whatever `per_channel` asks for."""
        return self.kind == "static-qoperator" and self.integers.weights == "uint8"

    @property
    def method(self) -> Method:
        """The method by which its nodes are selected."""
        return _METHODS[self.kind]


_ONE_SCALE = "its unsigned weights have one scale for all channels in this form"
_OWN_OPERATORS = (
    "its integer products are operators of ONNX Runtime's own (com.microsoft), not of ONNX; of "
    "other runtimes OpenVINO is known to read them"
)
_METHODS: dict[Kind, Method] = {
    "dynamic": "dynamic",
    "fixed": "dynamic",
    "static": "static",
    "static-qoperator": "static",
    "weights-8": "weights",
    "weights-4": "weights",
}
_WORDS: dict[Kind, str] = {
    "dynamic": "dynamic",
    "fixed": "fixed scales",
    "static": "static QDQ",
    "static-qoperator": "static QOperator",
    "weights-8": "8-bit weights",
    "weights-4": "4-bit weights",
}


@dataclass
class Workshop:
    """Builds the file of each draft, once.

    Parameters
    ----------
    folder : where the files are written.
    select : the nodes of a float graph for a method; see `compress.quantization.selection.select`.
    noise : signal-to-noise ratio of the answers in decibels, by node that was quantized alone.
    left_out : a note for each draft that couldn't be made or tried, with the reason.
    """

    artifact: Artifact
    context: Context
    folder: Path
    select: Callable[[Path, Method], Selection]
    calibration: Calibration
    per_channel: bool
    block_size: BlockSize
    exclude: Sequence[str]
    calibration_methods: Sequence[CalibrationMethod]
    noise: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    _made: dict[Draft, Candidate] = field(default_factory=dict)
    _observed: dict[Path, Observations] = field(default_factory=dict)

    def candidate(self, draft: Draft) -> Candidate:
        """Return the draft's candidate, whose file is built at the first call."""
        if draft not in self._made:
            path = self.folder / f"{len(self._made):03d}.onnx"
            notes = self._make(draft, path)
            self._made[draft] = Candidate(draft.name, path, (*draft.form.notes, *notes))
        return self._made[draft]

    def selection(self, draft: Draft) -> Selection:
        """Return the nodes that a draft quantizes."""
        return self.select(draft.form.path, draft.method).without(draft.kept)

    def observations(self, form: Form) -> Observations:
        """Return statistics of a float graph's activations on calibration samples, read once."""
        if form.path not in self._observed:
            graph = load_graph(form.path)
            self._observed[form.path] = observe(
                form.path,
                activations(graph, self.select(form.path, "static")),
                batches=self.batches(),
                methods=self.calibration_methods,
                store=self._store(),
                progress=self.context.progress,
            )
        return self._observed[form.path]

    def batches(self) -> Loader:
        """Return the calibration samples, in order."""
        return self.context.data.loader(
            "calibration",
            self.artifact.require_preprocessor(),
            batch_size=8,
            limit=self.calibration.samples,
        )

    def ranges(self, draft: Draft) -> dict[str, tuple[float, float]]:
        """Return the ranges of a static draft's activations, by tensor."""
        method = draft.calibration or self.calibration_methods[0]
        return self.observations(draft.ranged or draft.form).ranges(
            method, percentile=self.calibration.percentile, integers=draft.integers
        )

    def beside(self, draft: Draft, what: str) -> Path:
        """Return a path for a file that is made from a draft's graph."""
        return self.folder / f"{draft.form.path.stem}-{what}.onnx"

    def form_like(self, form: Form, source: Path) -> Form:
        """Return the form of the graph `source` that has the same kind as `form`."""
        kind = form.name.split(", ")[0]
        found = [plain(source)] if kind == PLAIN else forms(source, self.folder)
        return next(each for each in found if each.name == kind)

    def weighted_nodes(self, draft: Draft) -> list[str]:
        """Return the nodes that a draft quantizes and that have weights."""
        chosen = set(self.selection(draft).nodes)
        nodes = load_graph(draft.form.path).nodes
        return [n.name for n in nodes if n.name in chosen and n.op_type in WEIGHT_INPUT]

    def quantize_only(self, draft: Draft, nodes: Sequence[str], path: Path) -> Path:
        """Write a draft in which only these nodes are quantized."""
        selection = self.select(draft.form.path, draft.method).only(nodes)
        self._quantize(draft, selection, path)
        return path

    def _store(self) -> Path | None:
        shared = self.context.shared
        return None if shared is None else shared / FOLDER

    def _make(self, draft: Draft, path: Path) -> tuple[str, ...]:
        selection = self.selection(draft)
        return self._quantize(draft, selection, path)

    def _quantize(self, draft: Draft, selection: Selection, path: Path) -> tuple[str, ...]:
        source = draft.form.path
        if draft.kind in ("dynamic", "fixed"):
            quantize_dynamic(
                source,
                path=path,
                selection=selection,
                integers=draft.integers,
                per_channel=self.per_channel,
            )
            if draft.kind == "dynamic":
                return selection.notes
            fix_scales(path, path=path, ranges=self.ranges(draft))
            return (*selection.notes, self._calibrated(draft), _OWN_OPERATORS)
        if draft.kind in ("weights-8", "weights-4"):
            all_nodes = self.select(source, draft.method).nodes
            return quantize_weights(
                source,
                path=path,
                options=WeightOnly(
                    bits=8 if draft.kind == "weights-8" else 4, block_size=self.block_size
                ),
                exclude=(*self.exclude, *(n for n in all_nodes if n not in selection.nodes)),
            )
        quantize_static(
            source,
            path=path,
            selection=selection,
            ranges=self.ranges(draft),
            integers=draft.integers,
            per_channel=self.per_channel,
            form="qdq" if draft.kind == "static" else "qoperator",
        )
        one_scale = self.per_channel and draft.has_one_scale
        return (*selection.notes, self._calibrated(draft), *([_ONE_SCALE] if one_scale else []))

    def _calibrated(self, draft: Draft) -> str:
        wanted = self.calibration.samples
        used = min(wanted, self.context.data.size("calibration"))
        fewer = "" if used == wanted else f" (of {wanted} asked for; the split has no more)"
        return f"calibrated on {used} samples{fewer}, method {draft.calibration}"
