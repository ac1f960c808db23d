"""Checks a bundle's model on its stored samples: answers, labels and other shapes."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import ATTENTION_MASK
from compress.exporting.bundle.samples import Samples, read_samples, shorter
from compress.exporting.examples.check import TOLERANCES, Precision
from compress.exporting.verify.check import Check, Status
from compress.measurement.bench.inputs import declared, fixed_batch, make_inputs
from compress.measurement.session import answer_of, run, session
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.metadata import metadata_of
from compress.tasks.task import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Array = NDArray[Any]

INT8_EXPECTED, INT8_TOLERANCE = 0.02, 0.05
"""For INT8: root mean square of the differences, relative to that of the answers. On another CPU
the float operations between the matmuls round a few numbers otherwise: 0.04 % of the answers of a
MiniLM with emulated matmuls, and 4 % if those saturate.
"""
_BATCHES = (1, 3)
_TINY = float(np.finfo(np.float32).tiny)


class Answering:
    """A model that is checked on its stored samples.

    Parameters
    ----------
    model : the ONNX file, which is known to load.
    samples : the file of its samples.
    task : the name of a task; it decides on the measure of agreement.
    precision : the model's, in a bundle with several.
    by : runs the model elsewhere; None for ONNX Runtime.
    """

    def __init__(
        self,
        model: Path,
        samples: Path,
        *,
        task: str,
        precision: str | None = None,
        by: Callable[[Mapping[str, Array]], dict[str, Array]] | None = None,
    ) -> None:
        self._model = model
        self._path = samples
        self._precision = precision
        self._by = by
        self._target = TASKS[task].target if task in TASKS else "own"

    def as_published(self) -> Check:
        """Check that the answers are the stored ones, up to the tolerance."""
        if not self._path.is_file():
            text = f"not compared: the bundle has no {self._path.name}"
            return Check("answers", "warning", text)
        samples, wanted = self._samples, self._wanted
        if wanted is None:
            text = f"{self._path.name} holds no answers in {self._precision}"
            return Check("answers", "failed", text)
        name = next(iter(samples.answers))
        outputs = self._run(samples.inputs)
        if name in outputs:
            outputs = {**outputs, name: answer_of(outputs)}
        if name not in outputs or outputs[name].shape != wanted.shape:
            given = ", ".join(f"{each} {list(x.shape)}" for each, x in outputs.items())
            text = f"{name} {list(wanted.shape)} is stored, and the model gives {given}"
            return Check("answers", "failed", text)
        got, before = self._counted(outputs[name]), self._counted(wanted)
        status, said = self._difference(got, before)
        same = f"{self._agreement(got, before):.0%} the same"
        beside = self._beside_reference(got, before)
        text = f"{samples.count} stored samples: {said}; {same}{beside}"
        return Check("answers", status, text)

    def labels(self, labels: list[str]) -> Check:
        """Check that labels.json fits the width of the answers, and the file's own labels."""
        inside = json.loads(metadata_of(self._model).get("labels", "null"))
        if inside is not None and inside != labels:
            text = f"labels.json has {len(labels)} names, and the model's metadata others"
            return Check("labels", "failed", text)
        if not labels:
            return Check("labels", "ok", "none, as the task has none")
        width = next(iter(self._run(self._inputs).values())).shape[-1]
        text = f"{len(labels)} names for answers of width {width}"
        return Check("labels", "ok" if width == len(labels) else "failed", text)

    def other_shapes(self) -> Check:
        """Check that the model runs at other batch sizes, and on texts of another length."""
        fixed = fixed_batch(declared(self._model))
        tried: dict[str, Mapping[str, Array]] = {}
        for size in _BATCHES if fixed is None else (fixed,):
            rows = np.arange(size) % len(next(iter(self._inputs.values())))
            tried[f"batch {size}"] = {name: x[rows] for name, x in self._inputs.items()}
        less = shorter(self._inputs) if self._takes_any_length() else None
        if less is not None:
            tried[f"length {less[ATTENTION_MASK].shape[1]}"] = less
        for words, inputs in tried.items():
            size = len(next(iter(inputs.values())))
            name, answer = next(iter(self._run(inputs).items()))
            if answer.shape[0] != size or not np.isfinite(answer).all():
                text = f"{words}: {name} {list(answer.shape)} for {size} samples, or not finite"
                return Check("shapes", "failed", text)
        return Check("shapes", "ok", f"runs at {', '.join(tried)}")

    @cached_property
    def _samples(self) -> Samples:
        return read_samples(self._path)

    @cached_property
    def _wanted(self) -> Array | None:
        """The stored answers; None if there are none in this precision."""
        if self._precision is not None:
            return self._samples.precisions.get(self._precision)
        return next(iter(self._samples.answers.values()))

    @cached_property
    def _inputs(self) -> Mapping[str, Array]:
        """The stored inputs, or random ones."""
        if self._path.is_file():
            return self._samples.inputs
        inputs = declared(self._model)
        return make_inputs(inputs, batch=fixed_batch(inputs) or 1)

    @cached_property
    def _session(self) -> Any:
        return session(self._model, threads=1, exact=self._precision is not None)

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return run(self._session, inputs) if self._by is None else self._by(inputs)

    def _takes_any_length(self) -> bool:
        axes = {one.name: one.axes for one in declared(self._model)}.get(ATTENTION_MASK, ())
        return len(axes) == 2 and isinstance(axes[1], str)

    def _counted(self, answers: Array) -> Array:
        """Return the answers without those at padding."""
        mask = self._samples.inputs.get(ATTENTION_MASK)
        if mask is None or answers.ndim != 3 or answers.shape[:2] != mask.shape:
            return answers.astype(np.float64)
        kept: Array = answers[mask != 0]
        return kept.astype(np.float64)

    def _difference(self, got: Array, wanted: Array) -> tuple[Status, str]:
        """Return the status of the difference between answers, and the difference in words."""
        precision = precision_of(self._model)
        if precision == "int8":
            error = _rms(got - wanted) / max(_rms(wanted), _TINY)
            if error <= INT8_EXPECTED:
                return "ok", f"answers differ by {error:.1%} (at most {INT8_EXPECTED:.0%})"
            said = f"answers differ by {error:.1%}, more than rounding on another CPU explains"
            return ("warning" if error <= INT8_TOLERANCE else "failed"), said
        tolerance = TOLERANCES[precision]
        largest = float(np.abs(got - wanted).max())
        allowed = tolerance * max(1.0, float(np.abs(wanted).max()))
        said = f"largest difference {largest:.1e} (at most {allowed:.1e})"
        return ("ok" if largest <= allowed else "failed"), said

    def _beside_reference(self, got: Array, before: Array) -> str:
        """Return in words how many answers equal the reference's, now and when published."""
        stored = next(iter(self._samples.reference.values()), None)
        if stored is None or stored.shape != next(iter(self._samples.answers.values())).shape:
            return ""
        reference = self._counted(stored)
        return (
            f"; {self._agreement(got, reference):.0%} as the uncompressed model's "
            f"({self._agreement(before, reference):.0%} when published)"
        )

    def _agreement(self, got: Array, wanted: Array) -> float:
        """Return the fraction of equal answers; for hidden states, the mean cosine similarity."""
        if self._target == "class-set":
            return float(((got > 0) == (wanted > 0)).mean())
        if self._target == "own":
            return float((np.abs(got - wanted) <= 0.01 * np.abs(wanted).max()).mean())
        if self._target != "none":
            return float((got.argmax(-1) == wanted.argmax(-1)).mean())
        lengths = np.linalg.norm(got, axis=-1) * np.linalg.norm(wanted, axis=-1)
        return float(((got * wanted).sum(-1) / np.maximum(lengths, _TINY)).mean())


def precision_of(model: Path) -> Precision:
    """Return the least precise type of numbers that a file computes with.

    Weights that are only stored in fewer bits, and become floats by a `Cast`, don't count.
    """
    from onnx import TensorProto

    graph = load_graph(model)
    cast = {
        name
        for name in graph.initializers
        if {node.op_type for node in graph.readers(name)} == {"Cast"}
    }
    kinds = {tensor.data_type for tensor in graph.tensors() if tensor.name not in cast}
    if kinds & {TensorProto.INT8, TensorProto.UINT8}:
        return "int8"
    return "fp16" if TensorProto.FLOAT16 in kinds else "fp32"


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
