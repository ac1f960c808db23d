"""Loads a given ONNX file as a model that stages can work on, and proves that it answers alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from compress.core.batch import ATTENTION_MASK
from compress.errors import ModelError, StageError, clipped, few
from compress.measurement.child.watch import Unwatched, Watch
from compress.measurement.session import run, session
from compress.models.onnx_file.adapt import Adapted, adapt
from compress.models.onnx_file.batch_axis import (
    Fixed,
    declare_answer,
    declare_axes,
    fixed_axes,
    free_inside,
)
from compress.models.onnx_file.matching import Activation, Wanted, match_inputs, match_outputs
from compress.models.onnx_file.scores import (
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
    """A given ONNX file, how a recipe names its parts, and what a task reads of it.

    Attributes
    ----------
    path : the file.
    inputs, outputs : as `model.inputs` and `model.outputs` of a recipe.
    wanted : the outputs that the task reads.
    target : the kind of a sample's label.
    texts : whether inputs are texts, whose second axis is a sequence of tokens.
    """

    path: Path
    wanted: Sequence[Wanted]
    target: Target
    texts: bool
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


def take(
    given: GivenFile,
    batch: Batch,
    *,
    to: Path,
    metadata: Mapping[str, str],
    watch: Watch | None = None,
) -> tuple[str, ...]:
    """Write a given file in the form that stages work on; return notes on what was changed.

    Its answers are the given file's, on the batch.

    Parameters
    ----------
    batch : real inputs, by the task's names. Texts have the full length where the file fixes it.
    to : the file to write.
    metadata : entries to add to the file's own.
    watch : is told of each time that the file, or the copy, is loaded or called.

    Raises
    ------
    ModelError : the file can't be loaded, can't take the inputs, has an answer of another form than
        the task's, or has a sequence of fixed length that can't be freed.
    """
    try:
        return _Taking(given, batch, to=to, metadata=metadata, watch=watch or Unwatched()).take()
    except (ModelError, StageError) as error:
        raise ModelError(f"{clipped(repr(str(given.path)))}: {error}") from error


class _OtherAnswersError(ModelError):
    """Raised when a changed graph answers otherwise than the given file."""


class _Taking:
    """One file that is brought into our form."""

    def __init__(
        self, given: GivenFile, batch: Batch, *, to: Path, metadata: Mapping[str, str], watch: Watch
    ) -> None:
        self._given, self._to, self._watch = given, to, watch
        self._metadata = {**metadata_of(given.path), **metadata}
        self._batch = {name: np.asarray(values)[:SAMPLES] for name, values in batch.items()}
        header = read_header(given.path)
        self._inputs = match_inputs(
            header.inputs, tuple(self._batch), given.inputs, target=given.target
        )
        self._outputs = match_outputs(header.outputs, given.wanted, given.outputs)
        self._tolerance = TOLERANCE
        self._opened = self._session(given.path, given.path.name)

    def take(self) -> tuple[str, ...]:
        adapted = self._adapted(raises=True)
        wanted = self._answers(adapted)
        self._require_finite(adapted.model, wanted)
        try:
            return self._taken(adapted, wanted)
        except (_OtherAnswersError, StageError):
            if not adapted.raised:
                raise
        # onnx's conversion changes what some old operators answer, such as Upsample's of opset 9.
        adapted = self._adapted(raises=False)
        return self._taken(adapted, wanted)

    def _adapted(self, *, raises: bool) -> Adapted:
        return adapt(
            load_model(self._given.path),
            inputs=self._inputs,
            outputs=self._outputs,
            batch=self._batch,
            texts=self._given.texts,
            raises=raises,
        )

    def _taken(self, adapted: Adapted, wanted: Mapping[str, Array]) -> tuple[str, ...]:
        """Write an adapted graph that answers as the given file; return all notes."""
        model, notes = adapted.model, list(adapted.notes)
        activations: dict[str, Activation | None] = {}
        for one in adapted.given:
            name = one.wanted.name
            activations[name] = one.activation
            ends, axis = one.wanted.activation, one.wanted.class_axis
            if one.activation is None and probabilities(wanted[name], ends, class_axis=axis):
                activations[name] = ends
                as_scores(model, name, ends or "softmax")
                notes.append("its answers are probabilities: their logarithms are its scores")
        half = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
        if half & {tensor.data_type for tensor in Graph(model).tensors()}:
            self._tolerance = HALF_TOLERANCE
        fixed = fixed_axes(model, self._texts)
        if fixed != Fixed(None, None) and self._free(model, fixed, wanted, activations):
            notes.append(f"its axes were fixed ({_said(fixed)}) and may vary now: answers stay")
        else:
            self._write(model, wanted, fixed)
            difference = self._difference(wanted, activations)
            if difference is not None:
                raise _OtherAnswersError(f"its graph can't be brought into our form: {difference}.")
            notes += self._kept(fixed)
        return tuple(notes)

    @property
    def _texts(self) -> frozenset[str]:
        """Names of the inputs whose second axis is a sequence."""
        if not self._given.texts:
            return frozenset()
        return frozenset(name for name, values in self._batch.items() if values.ndim == 2)

    def _answers(self, adapted: Adapted) -> dict[str, Array]:
        """Return the given file's own answers to the batch, by the task's names."""
        own = {one.name: one.array(self._batch[one.given]) for one in adapted.taken}
        found = self._run(self._opened, own, self._given.path.name)
        del self._opened  # it may hold gigabytes
        return {one.wanted.name: self._array(found[one.name]) for one in adapted.given}

    def _array(self, answers: Any) -> Array:
        if isinstance(answers, list):  # a ZipMap's dictionaries
            names = names_of_zipmap(self._given.path)
            answers = [[each[key] for key in names or sorted(each)] for each in answers]
        return np.asarray(answers)

    def _require_finite(self, model: ModelProto, answers: Mapping[str, Array]) -> None:
        if all(np.isfinite(each).all() for each in answers.values()):
            return
        held = Graph(model).initializers.values()
        arrays = ((tensor.name, numpy_helper.to_array(tensor)) for tensor in held)
        wrong = [name for name, x in arrays if x.dtype.kind == "f" and np.isnan(x).any()]
        where = f": its weights {few(wrong)} hold NaN" if wrong else ""
        raise ModelError(f"it answers real samples with values that aren't finite{where}.")

    def _write(self, model: ModelProto, answers: Mapping[str, Array], fixed: Fixed | None) -> None:
        """Write a graph whose axes are fixed; None: all of them may vary."""
        shapes = {name: values.shape for name, values in self._batch.items()}
        declare_axes(model, shapes, texts=self._texts, free=fixed is None)
        batch = None if fixed is None else fixed.batch
        for name, answer in answers.items():
            declare_answer(model, name, answer.shape, texts=self._given.texts, fixed=batch)
        set_metadata(model, self._metadata)
        save_model(model, self._to)

    def _free(
        self,
        model: ModelProto,
        fixed: Fixed,
        wanted: Mapping[str, Array],
        activations: Mapping[str, Activation | None],
    ) -> bool:
        """Write the graph with axes that may vary; return whether it answers as the given file."""
        freed = type(model)()
        freed.CopyFrom(model)
        free_inside(freed, fixed, self._texts)
        self._write(freed, wanted, None)
        try:
            alike = self._difference(wanted, activations) is None
            return alike and self._takes_fewer(fixed, wanted, activations)
        except StageError:
            return False

    def _difference(
        self, wanted: Mapping[str, Array], activations: Mapping[str, Activation | None]
    ) -> str | None:
        """Return how the written file's answers differ from the given one's; None if they don't."""
        found = self._run_copy(self._batch)
        for name, own in wanted.items():
            difference = self._apart(self._applied(name, found[name], activations), own)
            if difference is not None:
                return difference
        return None

    def _applied(
        self, name: str, scores: Array, activations: Mapping[str, Activation | None]
    ) -> Array:
        """Return what the given file's activation makes of the written file's scores."""
        (axis,) = (one.class_axis for one in self._given.wanted if one.name == name)
        return applied(activations[name], scores, class_axis=axis)

    def _apart(self, got: Array, own: Array) -> str | None:
        if got.shape != own.shape:
            return f"it answers in the shape {got.shape}, and the given file in {own.shape}"
        error = float(np.abs(got - own.astype(np.float64)).max(initial=0))
        largest = float(np.abs(own).max(initial=0))
        if error <= self._tolerance * max(1.0, largest):
            return None
        return f"answers differ by {error:.1e} where they reach {largest:.1e}"

    def _run_copy(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        return self._run(self._session(self._to, self._copy), batch, self._copy)

    @property
    def _copy(self) -> str:
        return f"the copy of {self._given.path.name} in our form"

    def _session(self, path: Path, name: str) -> onnxruntime.InferenceSession:
        self._watch.begin(f"loading {name}")
        opened = session(path, threads=1)
        self._watch.end()
        return opened

    def _run(
        self, opened: onnxruntime.InferenceSession, batch: Mapping[str, Array], name: str
    ) -> dict[str, Array]:
        samples = len(next(iter(batch.values())))
        self._watch.begin(f"running {name} on {samples} sample{'s' * (samples != 1)}")
        found = run(opened, batch)
        self._watch.end()
        return found

    def _takes_fewer(
        self,
        fixed: Fixed,
        wanted: Mapping[str, Array],
        activations: Mapping[str, Activation | None],
    ) -> bool:
        """Return whether the written file answers a sample alone, and a text without padding."""
        mask = self._batch.get(ATTENTION_MASK)
        for row in range(len(next(iter(self._batch.values())))):
            one = {name: values[row : row + 1] for name, values in self._batch.items()}
            length = None if fixed.sequence is None or mask is None else int(mask[row].sum())
            if length is not None and mask is not None and mask[row, :length].all():
                one = {n: v[:, :length] if n in self._texts else v for n, v in one.items()}
            found = self._run_copy(one)
            for name, own in wanted.items():
                alone = own[row : row + 1]
                alone = alone if length is None or own.ndim < 3 else alone[:, :length]
                if self._apart(self._applied(name, found[name], activations), alone) is not None:
                    return False
        return fixed.sequence is None or self._takes_half(fixed.sequence)

    def _takes_half(self, length: int) -> bool:
        """Return whether the written file takes half of a text."""
        half = {n: v[:1, : max(2, length // 2)] for n, v in self._batch.items() if n in self._texts}
        rest = {name: values[:1] for name, values in self._batch.items() if name not in half}
        found = self._run_copy({**half, **rest})
        return all(bool(np.isfinite(found[one.name]).all()) for one in self._given.wanted)

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
