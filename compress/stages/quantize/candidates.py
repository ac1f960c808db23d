"""The INT8 models that a quantize stage can make of one float model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from compress.errors import StageError
from compress.graph_variants.variants import PLAIN, graph_variant, plain
from compress.onnx_graph.files import load_graph
from compress.quantization.calibration.names import FOLDER
from compress.quantization.calibration.observe import observe
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.evaluation import Candidate
from compress.quantization.nncf.quantize import quantize_by_nncf
from compress.quantization.selection import WEIGHT_INPUT
from compress.quantization.static import activations, quantize_static
from compress.quantization.static_scales import fix_scales
from compress.quantization.storage.store import store_weights
from compress.quantization.tied_heads import tie, tied_embeddings, untie
from compress.quantization.weight_only.graph import WeightOnly
from compress.quantization.weight_only.quantize import quantize_weights

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context, Loader
    from compress.graph_variants.variants import GraphVariant
    from compress.quantization.calibration.observations import Observations
    from compress.quantization.integers import Integers
    from compress.quantization.nncf.accuracy_control import Restoration
    from compress.quantization.options import Calibration, CalibrationMethod
    from compress.quantization.selection import Method, Selection
    from compress.quantization.weight_only.graph import BlockSize

Kind = Literal[
    "dynamic", "static_scales", "static", "static-qoperator", "weight_only-8", "weight_only-4",
    "storage-8", "storage-16", "nncf",
]  # fmt: skip


@dataclass(frozen=True)
class CandidateSpec:
    """The specification of one INT8 model.

    Attributes
    ----------
    kind : the kind of quantization.
    variant : the float graph that it is made from.
    integers : the 8-bit types.
    calibration : the method that finds the ranges; None if no ranges are needed.
    kept : nodes that stay in float.
    ranged : the variant that gives the ranges of activations; None for its own.
    """

    kind: Kind
    variant: GraphVariant
    integers: Integers
    calibration: CalibrationMethod | None = None
    kept: tuple[str, ...] = ()
    ranged: GraphVariant | None = None

    @property
    def name(self) -> str:
        """A description such as "static QDQ, U8S8, mse, plain, 2 nodes in float"."""
        integers = None if self.computes_in_float else str(self.integers)
        words = [_WORDS[self.kind], integers, self.calibration, self.variant.name]
        kept = f"{len(self.kept)} node{'s' * (len(self.kept) > 1)} in float" if self.kept else None
        return ", ".join(word for word in (*words, kept) if word)

    @property
    def calibrated(self) -> bool:
        """True if its activations have scales from calibration samples."""
        return self.kind in ("static_scales", "static", "static-qoperator")

    @property
    def computes_in_float(self) -> bool:
        """True if its activations stay in float, so that the types of `integers` aren't used."""
        return self.stores or self.kind in ("weight_only-8", "weight_only-4")

    @property
    def stores(self) -> bool:
        """True if its weights are stored in few bits and are float once it is loaded."""
        return self.kind in ("storage-8", "storage-16")

    @property
    def has_one_scale(self) -> bool:
        """True if each weight has one scale, whatever `per_channel` asks for."""
        return self.kind == "static-qoperator" and self.integers.weights == "uint8"

    @property
    def method(self) -> Method:
        """The method by which its nodes are selected."""
        # onnxruntime's 8-bit LSTM has signed weights in any case, which can saturate.
        if self.kind == "dynamic" and self.integers.weights == "uint8":
            return "dynamic_matmuls"
        return _METHODS[self.kind]


_ONE_SCALE = "its unsigned weights have one scale for all channels in this variant"
_OWN_OPERATORS = (
    "its integer matmuls are operators of ONNX Runtime's own (com.microsoft), not of ONNX; of "
    "other runtimes OpenVINO is known to read them"
)
_OWN_HEADS: tuple[Kind, ...] = ("dynamic", "static_scales")
"""Kinds in which a head that is tied to an embedding is quantized too."""
_METHODS: dict[Kind, Method] = {
    "dynamic": "dynamic",
    "static_scales": "dynamic_matmuls",
    "static": "static",
    "static-qoperator": "static",
    "weight_only-8": "weight_only",
    "weight_only-4": "weight_only",
    "storage-8": "weight_only",
    "storage-16": "weight_only",
    "nncf": "static",
}
_WORDS: dict[Kind, str] = {
    "dynamic": "dynamic",
    "static_scales": "static scales",
    "static": "static QDQ",
    "static-qoperator": "static QOperator",
    "weight_only-8": "8-bit weights",
    "weight_only-4": "4-bit weights",
    "storage-8": "weights stored in 8 bits",
    "storage-16": "weights stored in 16 bits",
    "nncf": "NNCF",
}


@dataclass
class CandidateBuilder:
    """Builds the file of each spec, once.

    Parameters
    ----------
    folder : where the files are written.
    select : the nodes of a float graph for a method; see `compress.quantization.selection.select`.
    restoration : NNCF's accuracy control; None for none.
    noise : signal-to-noise ratio of the answers in decibels, by node that was quantized alone.
    left_out : a note for each spec that couldn't be made or tried, with the reason.
    dropped : each spec that was dropped as slow, with its speedups.
    """

    artifact: Artifact
    context: Context
    folder: Path
    select: Callable[[Path, Method], Selection]
    calibration: Calibration
    per_channel: bool
    block_size: BlockSize
    operators: Sequence[str] | None
    exclude: Sequence[str]
    calibration_methods: Sequence[CalibrationMethod]
    restoration: Restoration | None = None
    noise: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    _made: dict[CandidateSpec, Candidate] = field(default_factory=dict)
    _observed: dict[Path, Observations] = field(default_factory=dict)
    _with_own_heads: dict[Path, Path] = field(default_factory=dict)

    def candidate(self, spec: CandidateSpec) -> Candidate:
        """Return the spec's candidate, whose file is built at the first call."""
        if spec not in self._made:
            path = self.folder / f"{len(self._made):03d}.onnx"
            notes = self._make(spec, path)
            self._made[spec] = Candidate(spec.name, path, (*spec.variant.notes, *notes))
        return self._made[spec]

    def selection(self, spec: CandidateSpec) -> Selection:
        """Return the nodes that a spec quantizes."""
        return self.select(self._graph(spec), spec.method).without(spec.kept)

    def observations(self, variant: GraphVariant) -> Observations:
        """Return statistics of a float graph's activations on calibration samples, read once."""
        if variant.path not in self._observed:
            path = self._untied(variant.path)
            self._observed[variant.path] = observe(
                path,
                activations(load_graph(path), self.select(path, "static")),
                batches=self.batches(),
                methods=self.calibration_methods,
                store=self._store(),
                progress=self.context.progress,
            )
        return self._observed[variant.path]

    def batches(self) -> Loader:
        """Return the calibration samples, in order."""
        return self.context.data.loader(
            "calibration",
            self.artifact.require_preprocessor(),
            batch_size=8,
            limit=self.calibration.samples,
        )

    def ranges(self, spec: CandidateSpec) -> dict[str, tuple[float, float]]:
        """Return the ranges of a static spec's activations, by tensor."""
        method = spec.calibration or self.calibration_methods[0]
        return self.observations(spec.ranged or spec.variant).ranges(
            method, percentile=self.calibration.percentile, integers=spec.integers
        )

    def beside(self, spec: CandidateSpec, what: str) -> Path:
        """Return a path for a file that is made from a spec's graph."""
        return self.folder / f"{spec.variant.path.stem}-{what}.onnx"

    def variant_like(self, variant: GraphVariant, source: Path) -> GraphVariant:
        """Return the variant of the graph `source` that has the same kind as `variant`."""
        kind = variant.name.split(", ")[0]
        found = plain(source) if kind == PLAIN else graph_variant(kind, source, self.folder)
        if found is None:
            raise StageError(f"the changed graph has no variant {kind!r}.")
        return found

    def weighted_nodes(self, spec: CandidateSpec) -> list[str]:
        """Return the nodes that a spec quantizes and that have weights."""
        chosen = set(self.selection(spec).nodes)
        nodes = load_graph(spec.variant.path).nodes
        return [n.name for n in nodes if n.name in chosen and n.op_type in WEIGHT_INPUT]

    def quantize_only(self, spec: CandidateSpec, nodes: Sequence[str], path: Path) -> Path:
        """Write a spec in which only these nodes are quantized."""
        selection = self.select(self._graph(spec), spec.method).only(nodes)
        self._quantize(spec, selection, path)
        return path

    def _graph(self, spec: CandidateSpec) -> Path:
        """Return the float graph that a spec is made from."""
        path = spec.variant.path
        return self._untied(path) if spec.kind in _OWN_HEADS else path

    def _untied(self, path: Path) -> Path:
        """Return a float graph whose heads have weights of their own, written once."""
        if path not in self._with_own_heads:
            untied = self.folder / f"{path.stem}-untied.onnx"
            self._with_own_heads[path] = untie(path, untied)
        return self._with_own_heads[path]

    def _store(self) -> Path | None:
        shared = self.context.shared
        return None if shared is None else shared / FOLDER

    def _make(self, spec: CandidateSpec, path: Path) -> tuple[str, ...]:
        if spec.stores:
            return store_weights(
                spec.variant.path,
                path=path,
                bits=8 if spec.kind == "storage-8" else 16,
                operators=self.operators,
                exclude=self.exclude,
            )
        if spec.kind == "nncf":
            return quantize_by_nncf(
                spec.variant.path,
                path=path,
                batches=self.batches(),
                exclude=self.exclude,
                kept=spec.kept,
                per_channel=self.per_channel,
                reduce_range=spec.integers.reduce_range,
                restoration=self.restoration,
            )
        return self._quantize(spec, self.selection(spec), path)

    def _quantize(self, spec: CandidateSpec, selection: Selection, path: Path) -> tuple[str, ...]:
        source = spec.variant.path
        if spec.kind in _OWN_HEADS:
            return self._quantize_matmuls(spec, selection, path)
        if spec.kind in ("weight_only-8", "weight_only-4"):
            all_nodes = self.select(source, spec.method).nodes
            return quantize_weights(
                source,
                path=path,
                options=WeightOnly(
                    bits=8 if spec.kind == "weight_only-8" else 4, block_size=self.block_size
                ),
                exclude=(*self.exclude, *(n for n in all_nodes if n not in selection.nodes)),
            )
        quantize_static(
            source,
            path=path,
            selection=selection,
            ranges=self.ranges(spec),
            integers=spec.integers,
            per_channel=self.per_channel,
            quant_format="qdq" if spec.kind == "static" else "qoperator",
        )
        one_scale = self.per_channel and spec.has_one_scale
        return (*selection.notes, self._calibrated(spec), *([_ONE_SCALE] if one_scale else []))

    def _quantize_matmuls(
        self, spec: CandidateSpec, selection: Selection, path: Path
    ) -> tuple[str, ...]:
        source = spec.variant.path
        tied = tied_embeddings(load_graph(source), selection.nodes)
        quantize_dynamic(
            self._untied(source) if tied else source,
            path=path,
            selection=selection.without(tied),
            integers=spec.integers,
            per_channel=self.per_channel,
        )
        notes = selection.notes
        if spec.kind == "static_scales":
            fix_scales(path, path=path, ranges=self.ranges(spec))
            notes = (*notes, self._calibrated(spec), _OWN_OPERATORS)
        if tied:
            tie(path)
        return notes

    def _calibrated(self, spec: CandidateSpec) -> str:
        wanted = self.calibration.samples
        used = min(wanted, self.context.data.size("calibration"))
        fewer = "" if used == wanted else f" (of {wanted} asked for; the split has no more)"
        return f"calibrated on {used} samples{fewer}, method {spec.calibration}"
