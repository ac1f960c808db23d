"""Loads a given ONNX file as a model that stages can work on, and proves that it answers alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from compress.errors import ModelError, StageError, clipped, few
from compress.measurement.session import run, session
from compress.models.onnx_file.adapt import Adapted, adapt
from compress.models.onnx_file.batch_axis import (
    Fixed,
    declare_answer,
    declare_axes,
    fixed_axes,
    free_inside,
)
from compress.models.onnx_file.matching import match_inputs, match_output
from compress.models.onnx_file.scores import (
    Activation,
    applied,
    as_scores,
    names_of_zipmap,
    probabilities,
)
from compress.onnx_graph.files import load_model, save_model
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.header import read_header
from compress.onnx_graph.metadata import metadata_of, set_metadata

if TYPE_CHECKING:
    import onnxruntime
    from onnx import ModelProto

    from compress.core.context import Batch, Target

Array = NDArray[Any]
TOLERANCE, HALF_TOLERANCE = 1e-4, 1e-2
"""Allowed difference to the given file, relative to the largest answer (or to 1); the second of
files with weights in half precision."""
SAMPLES = 4


@dataclass(frozen=True)
class GivenFile:
    """A given ONNX file and how a recipe names its parts.

    Attributes
    ----------
    path : the file.
    inputs, output : as `model.inputs` and `model.output` of a recipe.
    names : the task's names of its answer.
    target : the kind of a sample's label.
    texts : whether inputs are texts, whose second axis is a sequence of tokens.
    """

    path: Path
    inputs: Mapping[str, str]
    output: str | None
    names: Sequence[str]
    target: Target
    texts: bool


def take(
    given: GivenFile, batch: Batch, *, to: Path, metadata: Mapping[str, str]
) -> tuple[str, ...]:
    """Write a given file in the form that stages work on; return notes on what was changed.

    Its answers are the given file's, on the batch.

    Parameters
    ----------
    batch : real inputs, by the task's names. Texts have the full length where the file fixes it.
    to : the file to write.
    metadata : entries to add to the file's own.

    Raises
    ------
    ModelError : the file can't be loaded, can't take the inputs, has an answer of another form than
        the task's, or has a sequence of fixed length that can't be freed.
    """
    try:
        return _Taking(given, batch, to=to, metadata=metadata).take()
    except (ModelError, StageError) as error:
        raise ModelError(f"{clipped(repr(str(given.path)))}: {error}") from error


class _Taking:
    """One file that is brought into our form."""

    def __init__(
        self, given: GivenFile, batch: Batch, *, to: Path, metadata: Mapping[str, str]
    ) -> None:
        self._given, self._to = given, to
        self._metadata = {**metadata_of(given.path), **metadata}
        self._batch = {name: np.asarray(values)[:SAMPLES] for name, values in batch.items()}
        header = read_header(given.path)
        self._inputs = match_inputs(
            header.inputs, tuple(self._batch), given.inputs, target=given.target
        )
        self._output = match_output(header.outputs, given.names, given.target, given.output).name
        self._tolerance = TOLERANCE
        self._opened = session(given.path, threads=1)

    def take(self) -> tuple[str, ...]:
        adapted = adapt(
            load_model(self._given.path),
            inputs=self._inputs,
            output=self._output,
            name=self._given.names[0],
            target=self._given.target,
            batch=self._batch,
        )
        model, activation, notes = adapted.model, adapted.activation, list(adapted.notes)
        wanted = self._answers(adapted)
        self._require_finite(model, wanted)
        if activation is None and probabilities(wanted, self._given.target):
            activation = as_scores(model, self._given.names[0], self._given.target)
            notes.append("its answers are probabilities: their logarithms are its scores")
        fixed = fixed_axes(model, self._texts)
        half = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
        if half & {tensor.data_type for tensor in Graph(model).tensors()}:
            self._tolerance = HALF_TOLERANCE
        if fixed != Fixed(None, None) and self._free(model, fixed, wanted, activation):
            notes.append(f"its axes were fixed ({_said(fixed)}) and may vary now: answers stay")
        else:
            self._write(model, wanted.shape, fixed)
            difference = self._difference(wanted, activation)
            if difference is not None:
                raise ModelError(f"its graph can't be brought into our form: {difference}.")
            notes += self._kept(fixed)
        return tuple(notes)

    @property
    def _texts(self) -> frozenset[str]:
        """Names of the inputs whose second axis is a sequence."""
        if not self._given.texts:
            return frozenset()
        return frozenset(name for name, values in self._batch.items() if values.ndim == 2)

    def _answers(self, adapted: Adapted) -> Array:
        """Return the given file's own answers to the batch."""
        own = {one.name: one.array(self._batch[one.given]) for one in adapted.taken}
        found = run(self._opened, own)[self._output]
        if isinstance(found, list):  # a ZipMap's dictionaries
            names = names_of_zipmap(self._given.path)
            found = np.array([[each[key] for key in names or sorted(each)] for each in found])
        return np.asarray(found)

    def _require_finite(self, model: ModelProto, answers: Array) -> None:
        if np.isfinite(answers).all():
            return
        held = Graph(model).initializers.values()
        arrays = ((tensor.name, numpy_helper.to_array(tensor)) for tensor in held)
        wrong = [name for name, x in arrays if x.dtype.kind == "f" and np.isnan(x).any()]
        where = f": its weights {few(wrong)} hold NaN" if wrong else ""
        raise ModelError(f"it answers real samples with values that aren't finite{where}.")

    def _write(self, model: ModelProto, answer: tuple[int, ...], fixed: Fixed | None) -> None:
        """Write a graph whose axes are fixed; None: all of them may vary."""
        shapes = {name: values.shape for name, values in self._batch.items()}
        declare_axes(model, shapes, texts=self._texts, free=fixed is None)
        declare_answer(
            model,
            self._given.names[0],
            answer,
            texts=self._given.texts,
            fixed=None if fixed is None else fixed.batch,
        )
        set_metadata(model, self._metadata)
        save_model(model, self._to)

    def _free(
        self, model: ModelProto, fixed: Fixed, wanted: Array, activation: Activation | None
    ) -> bool:
        """Write the graph with axes that may vary; return whether it answers as the given file."""
        freed = type(model)()
        freed.CopyFrom(model)
        free_inside(freed, fixed, self._texts)
        self._write(freed, wanted.shape, None)
        try:
            return self._difference(wanted, activation) is None and self._takes_fewer(fixed)
        except StageError:
            return False

    def _difference(self, wanted: Array, activation: Activation | None) -> str | None:
        """Return how the written file's answers differ from the given one's; None if they don't."""
        found = run(self._tried(), self._batch)[self._given.names[0]]
        got = applied(activation, found)
        if got.shape != wanted.shape:
            return f"it answers in the shape {got.shape}, and the given file in {wanted.shape}"
        error = float(np.abs(got - wanted.astype(np.float64)).max(initial=0))
        largest = float(np.abs(wanted).max(initial=0))
        if error <= self._tolerance * max(1.0, largest):
            return None
        return f"answers differ by {error:.1e} where they reach {largest:.1e}"

    def _tried(self) -> onnxruntime.InferenceSession:
        return session(self._to, threads=1)

    def _takes_fewer(self, fixed: Fixed) -> bool:
        """Return whether the written file takes one sample, and half of a text."""
        fewer = {name: values[:1] for name, values in self._batch.items()}
        if fixed.sequence is not None:
            half = max(2, fixed.sequence // 2)
            fewer = {n: v[:, :half] if n in self._texts else v for n, v in fewer.items()}
        answer = run(self._tried(), fewer)[self._given.names[0]]
        return len(answer) == 1 and bool(np.isfinite(answer).all())

    def _kept(self, fixed: Fixed) -> list[str]:
        """Return a note on a batch that stays fixed at 1.

        Raises
        ------
        ModelError : the sequence stays fixed, or the batch at more.
        """
        if fixed.sequence is not None:
            raise ModelError(
                f"it takes texts of {fixed.sequence} tokens alone, and its graph holds that number "
                "in places that can't be freed. Export it with a dynamic axis of the sequence."
            )
        if fixed.batch is None:
            return []
        if fixed.batch > 1:
            raise ModelError(
                f"it takes {fixed.batch} samples at a time, and its graph holds that number in "
                "places that can't be freed. Export it with a dynamic axis of the batch, or with 1."
            )
        return [
            "it takes 1 sample at a time, and its graph holds that number: a batch is run one by "
            "one, and its latency is that of all runs together"
        ]


def _said(fixed: Fixed) -> str:
    parts = ((fixed.batch, "a batch of {}"), (fixed.sequence, "{} tokens"))
    return ", ".join(words.format(size) for size, words in parts if size is not None)
