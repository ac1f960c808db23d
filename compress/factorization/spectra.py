"""Computes the spectra of all layers that may be factorized."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING

from torch import nn

from compress.core.progress import Progress
from compress.factorization.gram import gram_matrices
from compress.factorization.layers import MatrixLayer
from compress.factorization.spectrum import RIDGE, Spectrum, spectrum
from compress.models.low_rank import matrix

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

GRAM_BYTES = 2**31
"""Bytes of Gram matrices that are held at once; more of them need further passes over the data."""
_DOUBLE = 8


def plain_spectra(
    module: nn.Module, layers: Sequence[MatrixLayer], *, progress: Progress
) -> list[Spectrum]:
    """Return the spectra of the layers' weights, computed on the weights' device."""
    found = []
    with progress.track("decompose", len(layers)) as advance:
        for layer in layers:
            weight = matrix(module.get_submodule(layer.path))
            found.append(spectrum(weight, largest=layer.largest))
            advance(info=layer.path)
    return found


def activation_spectra(
    module: nn.Module,
    layers: Sequence[MatrixLayer],
    *,
    task: Task,
    batches: Iterable[Batch],
    progress: Progress,
) -> tuple[list[Spectrum], tuple[str, ...]]:
    """Return the spectra of the layers' outputs on their inputs, and notes on the measurement.

    Parameters
    ----------
    module : in eval mode; matrices are decomposed on its device.
    batches : read once for each set of Gram matrices that fits into `GRAM_BYTES`.

    Raises
    ------
    StageError : see `compress.factorization.gram.gram_matrices`.
    """
    total = len(batches) if isinstance(batches, Sized) else 0
    found: list[Spectrum] = []
    idle = []
    passes = list(_passes(layers))
    with progress.track("measure and decompose", len(passes) * total + len(layers)) as advance:
        for some in passes:
            grams = gram_matrices(
                module,
                {layer.path: module.get_submodule(layer.path) for layer in some},
                task=task,
                batches=batches,
                advance=advance,
            )
            for layer in some:
                gram = grams.pop(layer.path)
                if not gram.any():
                    idle.append(layer.path)
                weight = matrix(module.get_submodule(layer.path))
                seen = gram if gram.any() else None
                found.append(spectrum(weight, gram=seen, largest=layer.largest))
                advance(info=layer.path)
    notes = [f"Gram matrices of the layers' inputs have a ridge of {RIDGE:g} of their mean."]
    if idle:
        notes.append(f"given nothing but zeros, and so split by plain SVD: {', '.join(idle)}.")
    return found, tuple(notes)


def _passes(layers: Sequence[MatrixLayer]) -> Iterator[list[MatrixLayer]]:
    """Yield the layers in order, in groups whose Gram matrices fit into memory (or of one)."""
    some: list[MatrixLayer] = []
    held = 0
    for layer in layers:
        size = _DOUBLE * layer.columns**2
        if some and held + size > GRAM_BYTES:
            yield some
            some, held = [], 0
        some.append(layer)
        held += size
    yield some
