"""Inputs with which a row's speed is measured: real test samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import model_inputs

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.measurement.spec import MeasureSpec

    Arrays = dict[str, np.ndarray[Any, Any]]

_LOOKED_AT = 256
"""Test samples whose lengths or sizes are looked at."""


def latency_inputs(
    artifact: Artifact, context: Context, spec: MeasureSpec
) -> tuple[dict[int, dict[str, np.ndarray[Any, Any]]], list[str]]:
    """Return real test samples for each batch size, texts padded to full length, and notes."""
    inputs: dict[int, dict[str, np.ndarray[Any, Any]]] = {}
    notes = []
    for size in spec.batch_sizes:
        loader = context.data.loader(
            "test",
            artifact.require_preprocessor(),
            batch_size=size,
            limit=size,
            fixed_length=True,
        )
        batch = next(iter(loader))
        arrays = {name: x.numpy() for name, x in model_inputs(batch).items()}
        got = len(next(iter(arrays.values())))
        if got < size:
            notes.append(f"latency at batch {size}: the {got} test samples were repeated")
            arrays = {name: np.resize(x, (size, *x.shape[1:])) for name, x in arrays.items()}
        inputs[size] = arrays
    return inputs, notes


def typical_inputs(artifact: Artifact, context: Context) -> tuple[Arrays, Arrays] | None:
    """Return a test sample of the median length or size alone, and the same sample as padded.

    Returns
    -------
    None if that is the full length or size, or none is padded.
    """

    def alone(*, fixed_length: bool) -> list[Arrays]:
        loader = context.data.loader(
            "test",
            artifact.require_preprocessor(),
            batch_size=1,
            limit=_LOOKED_AT,
            fixed_length=fixed_length,
        )
        return [{name: x.numpy() for name, x in model_inputs(each).items()} for each in loader]

    samples = alone(fixed_length=False)
    first = next(iter(samples[0]))
    order = sorted(range(len(samples)), key=lambda number: samples[number][first].size)
    middle = order[len(order) // 2]
    full = alone(fixed_length=True)[middle]
    if samples[middle][first].shape == full[first].shape:
        return None
    return samples[middle], full


def repeated(sample: Arrays, size: int) -> Arrays:
    """Return a batch of so many times the same sample."""
    return {name: np.repeat(x, size, axis=0) for name, x in sample.items()}
