"""A few real inputs and their answers, kept in the bundle for later checks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from compress.core.batch import ATTENTION_MASK, model_inputs
from compress.core.files.atomic import write_bytes
from compress.core.foreign.boundary import reading
from compress.errors import InputError, StageError
from compress.exporting.bundle.raw_samples import RawSamples, packed, unpacked
from compress.measurement.session import answer_of, run, session

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from compress.core.context import Batch
    from compress.exporting.bundle.precisions import BundlePrecision

    Array = NDArray[np.generic]

Values = TypeVar("Values", "NDArray[np.generic]", "Tensor")

SAMPLES_FILE = "samples.npz"
MOST = 8
LARGEST = 2**22
"""Bytes before packing. Large images, and answers as wide as a vocabulary, leave fewer samples."""
_ANSWERS, _REFERENCE, _PRECISIONS = "answers/", "reference/", "precisions/"


@dataclass(frozen=True, eq=False)
class Samples:
    """The content of a bundle's file of samples.

    Attributes
    ----------
    inputs : arrays (N, …) by the model's input names. Caches of generation are empty, and so aren't
        stored.
    answers : the model's outputs as one array (N, …), by the first one's name, as the published
        file gave them; see `answer_of`.
    reference : the uncompressed model's answers to the same inputs; empty if unknown.
    raw : samples before preprocessing, with their final answers; None if none are kept.
    precisions : of a bundle with several, the answers of each file by its precision.
    """

    inputs: Mapping[str, Array]
    answers: Mapping[str, Array]
    reference: Mapping[str, Array] = field(default_factory=dict)
    raw: RawSamples | None = None
    precisions: Mapping[str, Array] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(next(iter(self.answers.values())))


def write_samples(
    model: Path,
    batches: Iterable[Batch],
    directory: Path,
    *,
    reference: Callable[[Batch], np.ndarray] | None = None,
    raw: RawSamples | None = None,
    precisions: Mapping[BundlePrecision, Path] | None = None,
) -> Path:
    """Run a model on the first few real inputs, and write both into `samples.npz`.

    The file holds plain arrays and no pickle. Inputs have their own names, so that the bundle's
    example script accepts the file too. If inputs or answers are large, there are fewer samples, or
    shorter ones.

    Parameters
    ----------
    model : the bundle's ONNX file.
    batches : preprocessed inputs; up to eight samples of the first are taken.
    directory : the bundle's folder.
    reference : the uncompressed model, as a function from a batch to its scores.
    raw : samples before preprocessing.
    precisions : of a bundle with several, the file of each. Their 8-bit products are exact.

    Raises
    ------
    StageError : there are no batches, or the model fails on them.
    """
    batch = next(iter(batches), None)
    if batch is None:
        raise StageError("no samples to keep in the bundle.")
    exact = precisions is not None
    opened = session(model, threads=1, exact=exact)
    inputs: Batch = {name: values[:MOST] for name, values in model_inputs(batch).items()}
    name, answers = _answer(run(opened, inputs))
    while _bytes(inputs) + answers.nbytes > LARGEST and (smaller := _smaller(inputs)) is not None:
        inputs = smaller
        name, answers = _answer(run(opened, inputs))
    arrays = {key: np.asarray(values) for key, values in inputs.items()}
    arrays[_ANSWERS + name] = answers
    if reference is not None:
        arrays[_REFERENCE + name] = np.asarray(reference(inputs))
    if raw is not None:
        arrays |= packed(raw)
    for each, path in (precisions or {}).items():
        answered = run(session(path, threads=1, exact=exact), inputs)
        arrays[_PRECISIONS + each] = _answer(answered)[1]
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    written = directory / SAMPLES_FILE
    write_bytes(written, file.getvalue())
    return written


def read_samples(path: Path) -> Samples:
    """Read what `write_samples` wrote; nothing in the file is executed.

    Raises
    ------
    InputError : it can't be read, or holds no answers.
    """
    with reading(f"the samples {path}"):
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        found = Samples(
            inputs={name: x for name, x in arrays.items() if "/" not in name},
            answers=_under(_ANSWERS, arrays),
            reference=_under(_REFERENCE, arrays),
            raw=unpacked(arrays),
            precisions=_under(_PRECISIONS, arrays),
        )
    if not found.answers or not found.inputs:
        raise InputError(f"{path} holds no inputs with answers. It has: {', '.join(arrays)}.")
    return found


def shorter(inputs: Mapping[str, Values]) -> dict[str, Values] | None:
    """Return the half of each text with the least padding; None if the inputs aren't texts."""
    mask = inputs.get(ATTENTION_MASK)
    if mask is None or mask.shape[-1] < 2:
        return None
    half = mask.shape[-1] // 2
    padded_left = not bool(np.asarray(mask)[..., 0].all())
    kept = slice(-half, None) if padded_left else slice(half)
    return {name: values[..., kept] for name, values in inputs.items()}


def _answer(outputs: Mapping[str, np.ndarray]) -> tuple[str, np.ndarray]:
    """The name of the first output, and all outputs as one array."""
    return next(iter(outputs)), answer_of(outputs)


def _bytes(inputs: Batch) -> int:
    return sum(np.asarray(values).nbytes for values in inputs.values())


def _smaller(inputs: Batch) -> Batch | None:
    """Return half of the samples, at least two, or else half of each text, or else None."""
    count = len(next(iter(inputs.values())))
    if count > 2:
        return {name: values[: count // 2] for name, values in inputs.items()}
    return shorter(inputs)


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {
        name.removeprefix(prefix): values
        for name, values in arrays.items()
        if name.startswith(prefix)
    }
