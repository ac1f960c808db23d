"""Cross-layer equalisation: neighbouring convolutions share out the ranges of their channels.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
arXiv:1906.04721.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from compress.quantization.equalization_chains import (
    Array,
    Pair,
    Weights,
    find_pairs,
    made_channels,
    read_channels,
)
from compress.quantization.write import write

_ROUNDS = 100
_SETTLED = 1e-3
"""Largest change of a logarithm of a scale at which the iteration ends."""


def equalize(source: Path, *, path: Path, replace_clip: bool = False) -> tuple[str, ...]:
    """Write a float model with the same answers whose weights are easier to quantize.

    Where only one layer reads what another makes, channel i can be divided by s_i there and
    multiplied by it here, through ReLU, pooling and padding with zeros: with
    s_i = sqrt(max|W1_i| / max|W2_i|) both get the same range, and no channel is lost beside a wider
    one. Repeated over all pairs until nothing changes, as one layer is the second of a pair and the
    first of the next.

    Parameters
    ----------
    source : the float model: convolutions with batch normalisation folded in.
    path : the file to write.
    replace_clip : also scale through `Clip` (ReLU6), by making it ReLU, as the paper does. That
        changes the answers wherever the bound was reached.

    Returns
    -------
    Notes: what was scaled, and what wasn't.
    """
    model = onnx.load(str(source))
    weights = Weights(model.graph)
    every = find_pairs(model.graph, weights)
    pairs = [pair for pair in every if pair.clip is None or replace_clip]
    before = _spread(pairs, weights)
    rounds = _settle(pairs, weights)
    after = _spread(pairs, weights)
    weights.store()
    replaced = [pair.clip for pair in pairs if pair.clip is not None]
    for node in replaced:
        node.op_type = "Relu"
        del node.input[1:]
    write(model, path=path, source=source)
    return _notes(len(every), len(pairs), rounds, before, after, len(replaced))


def _settle(pairs: Sequence[Pair], weights: Weights) -> int:
    """Equalise pair after pair until nothing moves; returns how many rounds that took."""
    for done in range(_ROUNDS):
        if max((_share(pair, weights) for pair in pairs), default=0.0) < _SETTLED:
            return done
    return _ROUNDS


def _share(pair: Pair, weights: Weights) -> float:
    """Give both layers of a pair the same ranges; returns the largest change's logarithm."""
    made, read = _made(pair, weights), _read(pair, weights)
    wide = np.abs(made).max(axis=tuple(range(1, made.ndim)))
    narrow = np.abs(read).max(axis=(2, 3)).reshape(-1)
    alive = (wide > 0) & (narrow > 0)
    scales = np.ones_like(wide)
    scales[alive] = np.sqrt(wide[alive] / narrow[alive])
    made /= scales.reshape(-1, *[1] * (made.ndim - 1))
    if len(pair.first.input) > 2 and pair.first.input[2]:
        weights[pair.first.input[2]][...] /= scales
    read *= scales.reshape(*read.shape[:2], 1, 1)
    return float(np.abs(np.log(scales)).max(initial=0.0))


def _made(pair: Pair, weights: Weights) -> Array:
    return made_channels(pair.first, weights[pair.first.input[1]])


def _read(pair: Pair, weights: Weights) -> Array:
    return read_channels(pair.second, weights[pair.second.input[1]])


def _spread(pairs: Sequence[Pair], weights: Weights) -> float:
    """How many times wider the widest channel is than the median one, in the worst layer."""
    worst = 1.0
    for pair in pairs:
        made = _made(pair, weights)
        ranges = np.abs(made).max(axis=tuple(range(1, made.ndim)))
        middle = float(np.median(ranges[ranges > 0])) if ranges.any() else 1.0
        worst = max(worst, float(ranges.max(initial=0.0)) / middle)
    return worst


def _notes(
    found: int, scaled: int, rounds: int, before: float, after: float, replaced: int
) -> tuple[str, ...]:
    if not found:
        return ("equalisation: no two layers of which only the second reads the first",)
    notes = []
    if scaled:
        notes.append(
            f"equalisation: {scaled} pairs of layers, {rounds} rounds; the widest channel was "
            f"{before:.3g} times the median one of its layer, now {after:.3g}"
        )
    if replaced:
        notes.append(f"equalisation: {replaced} Clip made Relu; answers change where they cut off")
    if scaled < found:
        notes.append(
            f"equalisation: {found - scaled} pairs left alone: the upper bound of the Clip between "
            "them isn't kept by scales"
        )
    return tuple(notes)
