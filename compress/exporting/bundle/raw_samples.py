"""Raw samples in a bundle, with the answers that they had in the measured pipeline."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import ATTENTION_MASK, model_inputs
from compress.core.context import Raw
from compress.core.foreign.boundary import reading
from compress.exporting.bundle.vectors import vectors_of
from compress.measurement.session import answer_of, run, session
from compress.tasks.contract import Task as OwnTask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from compress.core.artifact import Preprocessor
    from compress.core.context import Batch, Task

    Array = NDArray[Any]

PREFIX = "raw/"
_KIND, _TEXTS, _IMAGE, _ANSWERS = "kind", "texts", "image/", "answers"
_MOST_PROMPTS = 2
_ARRAYS = "arrays"
_AS_FILES = ("image", _ARRAYS)
"""The kinds whose values are contents of files."""


@dataclass(frozen=True, eq=False)
class RawSamples:
    """A few raw samples, and their answers; see `compress.core.context.Raw`.

    Attributes
    ----------
    kind : the kind of the values.
    values : texts, pairs, lists of words, image files' bytes, texts to continue, mappings of
        fields, or one .npz file's bytes of inputs.
    answers : as `compress.exporting.examples.answers.example_answers` gives them.
    inputs : the model's inputs by name, without columns of padding alone; not stored.
    """

    kind: str
    values: tuple[Any, ...]
    answers: Array
    inputs: Mapping[str, Array]


def answered(
    model: Path,
    raw: Raw,
    batch: Batch,
    *,
    preprocessor: Preprocessor,
    task: Task,
    postprocessing: Mapping[str, Any],
    most_bytes: int,
    exact: bool = False,
) -> RawSamples | None:
    """Return raw samples and the answers to their batch; None if a sample is too large.

    Parameters
    ----------
    model : the bundle's ONNX file.
    raw : as many samples as `batch` holds, in its order; for texts to continue, other samples.
    batch : the loader's batch, as in the measurement of quality.
    postprocessing : the bundle's constants.
    most_bytes : largest total size of the kept samples.
    exact : see `compress.measurement.session.session`.
    """
    opened = session(model, threads=1, exact=exact)
    if isinstance(task, OwnTask) and task.script_file is None:
        return _of_arrays(opened, batch, most_bytes)
    values = _fitting(raw, most_bytes)
    if not values:
        return None
    if isinstance(task, OwnTask):
        given = task.raw_inputs(values, preprocessor=preprocessor)
        few = _trimmed({name: np.asarray(x) for name, x in given.items()})
        return RawSamples(raw.kind, values, answer_of(run(opened, few)).astype(np.float64), few)
    if raw.kind == "prompt":
        return _prompts(opened, values[:_MOST_PROMPTS], preprocessor, task.output_names[0])
    few = _trimmed({name: np.asarray(x)[: len(values)] for name, x in model_inputs(batch).items()})
    scores = run(opened, few)[task.output_names[0]].astype(np.float64)
    if raw.kind == "words":
        answers = _of_words(scores, values, preprocessor)
    elif task.target == "none":
        answers = vectors_of(scores, few[ATTENTION_MASK], postprocessing)
    else:
        answers = _probabilities(scores, postprocessing)
    return RawSamples(raw.kind, values, answers, few)


def packed(raw: RawSamples) -> dict[str, Array]:
    """Return raw samples as plain arrays by name; no name is that of a model's input."""
    arrays: dict[str, Array] = {PREFIX + _KIND: np.array(raw.kind), PREFIX + _ANSWERS: raw.answers}
    if raw.kind in _AS_FILES:
        files = (np.frombuffer(value, np.uint8) for value in raw.values)
        return arrays | {f"{PREFIX}{_IMAGE}{at}": file for at, file in enumerate(files)}
    return arrays | {PREFIX + _TEXTS: np.array(json.dumps(list(raw.values)))}


def unpacked(arrays: Mapping[str, Array]) -> RawSamples | None:
    """Return the raw samples that `packed` stored; None if there are none.

    Raises
    ------
    InputError : their arrays aren't whole.
    """
    if PREFIX + _KIND not in arrays:
        return None
    with reading("the raw samples"):
        kind, answers = str(arrays[PREFIX + _KIND]), arrays[PREFIX + _ANSWERS]
        if kind in _AS_FILES:
            count = sum(name.startswith(PREFIX + _IMAGE) for name in arrays)
            files = (arrays[f"{PREFIX}{_IMAGE}{at}"].tobytes() for at in range(count))
            return RawSamples(kind, tuple(files), answers, {})
        values = json.loads(str(arrays[PREFIX + _TEXTS]))
        return RawSamples(kind, tuple(values), answers, {})


def _of_arrays(opened: Any, batch: Batch, most: int) -> RawSamples | None:
    """Return a batch's inputs as one .npz file, and all outputs as one array."""
    inputs = {name: np.asarray(x) for name, x in model_inputs(batch).items()}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **inputs)
    if len(file.getvalue()) > most:
        return None
    answers = answer_of(run(opened, inputs)).astype(np.float64)
    return RawSamples(_ARRAYS, (file.getvalue(),), answers, inputs)


def _fitting(raw: Raw, most: int) -> tuple[Any, ...]:
    sizes = np.cumsum([len(v) if isinstance(v, bytes) else len(json.dumps(v)) for v in raw.values])
    return raw.values[: int((sizes <= most).sum())]


def _trimmed(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return inputs without columns that are padding in every text."""
    mask = inputs.get(ATTENTION_MASK)
    if mask is None:
        return dict(inputs)
    kept = (mask != 0).reshape(-1, mask.shape[-1]).any(0)
    return {name: values[..., kept] for name, values in inputs.items()}


def _probabilities(scores: Array, postprocessing: Mapping[str, Any]) -> Array:
    if postprocessing["activation"] == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-scores)))
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _of_words(scores: Array, words: tuple[Any, ...], preprocessor: Any) -> Array:
    """Return each word's class, all texts in one axis; -1 if none of a word's tokens is left."""
    _, firsts = preprocessor.encode_words(words)
    classes = []
    for row, first, text in zip(scores.argmax(-1), firsts, words, strict=True):
        start = len(row) - len(first) if preprocessor.tokenizer.padding_side == "left" else 0
        of_word = {word: int(row[start + at]) for at, word in enumerate(first) if word >= 0}
        classes += [of_word.get(word, -1) for word in range(len(text))]
    return np.array(classes, np.int64)


def _prompts(opened: Any, prompts: tuple[str, ...], preprocessor: Any, output: str) -> RawSamples:
    """Return raw samples with scores of the token after each prompt."""
    scores, read = [], []
    for prompt in prompts:
        ids = preprocessor.tokenizer(prompt)["input_ids"]
        ids = ids[:-1] if ids[-1:] == [preprocessor.tokenizer.eos_token_id] else ids
        ids = ids[-preprocessor.max_length :]
        encoding = preprocessor.encoding_of(ids)
        inputs = {name: np.array([values], np.int64) for name, values in encoding.items()}
        scores.append(run(opened, inputs)[output][0, -1])
        read += ids
    return RawSamples("prompt", prompts, np.stack(scores), {"input_ids": np.array(read, np.int64)})
