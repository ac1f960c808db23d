"""Cross-layer equalisation: consecutive layers get equal ranges of the channels between them.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
arXiv:1906.04721.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.onnx_graph.files import load_model
from compress.onnx_graph.graph import Graph
from compress.quantization.equalization.bounds import least_scales
from compress.quantization.equalization.chains import (
    Array,
    Pair,
    Weights,
    find_pairs,
    made_channels,
    read_channels,
)
from compress.quantization.write import write

if TYPE_CHECKING:
    from compress.core.context import Batch

_ROUNDS = 100
_SETTLED = 1e-3
"""Largest change of a logarithm of a scale at which the iteration ends."""


def equalize(
    source: Path,
    *,
    path: Path,
    batches: Iterable[Batch] = (),
    replace_clip: bool = False,
) -> tuple[str, ...]:
    """Write a float model with the same answers whose weights are easier to quantize.

    If a single layer reads the output of another, channel i can be divided by s_i in the first
    layer and multiplied by s_i in the second, through ReLU, pooling and padding with zeros. With
    s_i = sqrt(max|W1_i| / max|W2_i|) both layers get the same range, so that no channel is lost
    beside a wider one. This is repeated over all pairs until nothing changes, because one layer can
    be the second of a pair and the first of the next.

    Scales don't commute with the upper bound of a `Clip` (ReLU6). If samples are given, channels
    that stay under the bound are scaled, but not so far that they would reach it. Other channels
    aren't scaled.

    Parameters
    ----------
    source : the float model: convolutions with batch normalisation folded in.
    path : the file to write.
    batches : calibration samples, iterated once; without them nothing is scaled through `Clip`.
    replace_clip : replace every `Clip` by ReLU and scale all its channels, as the paper does. That
        changes the answers wherever the bound was reached.

    Returns
    -------
    Notes that tell what was scaled, and what wasn't.

    Raises
    ------
    StageError : an activation before a `Clip` isn't finite on the samples.
    """
    graph = Graph(load_model(source))
    weights = Weights(graph)
    every = find_pairs(graph, weights)
    clipped = [pair for pair in every if pair.clip is not None and not replace_clip]
    least = least_scales(graph, clipped, weights, path=source, batches=batches)
    links = [
        Link(pair, weights, least.get(pair.first.output[0]))
        for pair in every
        if pair not in clipped or pair.first.output[0] in least
    ]
    before = _spread(links)
    rounds = _settle(links)
    after = _spread(links)
    weights.store()
    replaced = [pair.clip for pair in every if pair.clip is not None and replace_clip]
    for node in replaced:
        node.op_type = "Relu"
        del node.input[1:]
    write(graph.model, path=path, source=source)
    return _notes(len(every), len(links), rounds, before, after, len(replaced))


class Link:
    """A pair's weights, and how far they were scaled.

    Parameters
    ----------
    least : (channels,) lower bound of the product of a channel's scales. Infinite leaves the
        channel as it is; None means no bounds.
    """

    def __init__(self, pair: Pair, weights: Weights, least: Array | None = None) -> None:
        self.made = made_channels(pair.first, weights[pair.first.input[1]])
        self._read = read_channels(pair.second, weights[pair.second.input[1]])
        has_bias = len(pair.first.input) > 2 and pair.first.input[2]
        self._bias = weights[pair.first.input[2]] if has_bias else None
        self._least = least
        self._total = np.ones(len(self.made), np.float32)

    @property
    def ranges(self) -> Array:
        """Largest absolute weight of each channel that the first layer makes."""
        largest: Array = np.abs(self.made).max(axis=tuple(range(1, self.made.ndim)))
        return largest

    def share(self) -> float:
        """Give both layers the same ranges, and return the largest logarithm of a scale."""
        wide, narrow = self.ranges, np.abs(self._read).max(axis=(2, 3)).reshape(-1)
        alive = (wide > 0) & (narrow > 0)
        scales = np.ones_like(wide)
        scales[alive] = np.sqrt(wide[alive] / narrow[alive])
        if self._least is not None:
            bounded = np.maximum(scales, self._least / self._total)
            scales = np.where(np.isinf(self._least), np.float32(1), bounded)
        self._total *= scales
        self.made /= scales.reshape(-1, *[1] * (self.made.ndim - 1))
        if self._bias is not None:
            self._bias /= scales
        self._read *= scales.reshape(*self._read.shape[:2], 1, 1)
        return float(np.abs(np.log(scales)).max(initial=0.0))


def _settle(links: Sequence[Link]) -> int:
    """Equalise pair after pair until nothing changes, and return the number of rounds."""
    for done in range(_ROUNDS):
        if max((link.share() for link in links), default=0.0) < _SETTLED:
            return done
    return _ROUNDS


def _spread(links: Sequence[Link]) -> float:
    """The ratio of the widest channel to the median one, in the layer where it is largest."""
    worst = 1.0
    for link in links:
        alive = link.ranges[link.ranges > 0]
        if alive.size:
            worst = max(worst, float(alive.max() / np.median(alive)))
    return worst


def _notes(
    found: int, scaled: int, rounds: int, before: float, after: float, replaced: int
) -> tuple[str, ...]:
    if not found:
        return ("equalisation: no layer is the only reader of the layer before it",)
    notes = []
    if scaled:
        notes.append(
            f"equalisation: {scaled} pairs of layers in {rounds} rounds; the widest channel was "
            f"{before:.3g} times the median one of its layer, now {after:.3g}"
        )
    if replaced:
        notes.append(
            f"equalisation: {replaced} Clip replaced by Relu; answers change where it clipped"
        )
    if scaled < found:
        notes.append(
            f"equalisation: {found - scaled} pairs left alone: scales would move the bound of the "
            "Clip between them, and no samples tell which channels stay under it"
        )
    return tuple(notes)
