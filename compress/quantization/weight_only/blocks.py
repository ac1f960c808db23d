"""Weights in 4 or 8 bits, with a scale for every block of a row.

Levels are unsigned, as ONNX Runtime's MatMulNBits and GatherBlockQuantized read them. A weight is
(level - zero point) * scale. A zero point that isn't stored is the middle of the levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Bits = Literal[4, 8]
Levels = NDArray[np.uint8]
Floats = NDArray[np.float32]

# A narrower range rounds most weights better and clips the largest; these fractions are tried.
CANDIDATES = tuple(np.linspace(1.0, 0.7, 13, dtype=np.float32))
_CHUNK = 2**22  # weights quantized at a time


@dataclass(frozen=True, eq=False)
class Blocks:
    """A weight's rows in blocks.

    Attributes
    ----------
    levels : (N, blocks, block size); the last block is padded with the level of 0.
    scales : (N, blocks).
    zeros : (N, blocks) zero points; None if all are the middle, 2 ** (bits - 1).
    columns : number of weights in a row, without padding.
    """

    levels: Levels
    scales: Floats
    zeros: Levels | None
    columns: int
    bits: Bits

    def weight(self) -> Floats:
        """The dequantized weight (N, columns)."""
        middle = np.uint8(2 ** (self.bits - 1))
        zeros = middle if self.zeros is None else self.zeros[..., None]
        values = (self.levels.astype(np.float32) - np.float32(zeros)) * self.scales[..., None]
        return np.asarray(values.reshape(len(values), -1)[:, : self.columns])

    def packed_rows(self) -> Levels:
        """The packed levels (N, bytes of a row), without padding."""
        return pack(self.levels.reshape(len(self.levels), -1)[:, : self.columns], self.bits)


def quantize_blocks(
    weight: Floats, *, bits: Bits, block_size: int, symmetric: bool, search: bool = True
) -> Blocks:
    """Round a weight to the nearest levels, block by block.

    Parameters
    ----------
    weight : (N, K); blocks lie along K.
    symmetric : keep zero points in the middle, so that 0 is exact and no zero points are stored.
        The level without a counterpart then stands for the block's largest weight. If False, the
        levels span the block's range, widened to hold 0.
    search : choose for each block the fraction of its range with the least squared error.
    """
    rows, columns = weight.shape
    count = -(-columns // block_size)
    step = max(1, _CHUNK // (count * block_size))
    parts = []
    for start in range(0, rows, step):
        part = weight[start : start + step]
        filled = np.pad(part, ((0, 0), (0, count * block_size - columns)))
        blocks = filled.reshape(len(part), count, block_size)
        parts.append(_best(blocks, bits, symmetric, CANDIDATES if search else CANDIDATES[:1]))
    levels, scales, zeros = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Blocks(levels, scales, None if symmetric else zeros, columns, bits)


def pack(levels: Levels, bits: Bits) -> Levels:
    """Pack levels along the last axis; 4-bit levels go two to a byte, the lower half first."""
    if bits == 8:
        return levels
    if levels.shape[-1] % 2:
        levels = np.pad(levels, [(0, 0)] * (levels.ndim - 1) + [(0, 1)])
    return np.asarray(levels[..., 0::2] | (levels[..., 1::2] << 4))


def _best(
    blocks: Floats, bits: Bits, symmetric: bool, candidates: tuple[np.float32, ...]
) -> tuple[Levels, Floats, Levels]:
    levels, scales, zeros, least = _rounded(blocks, bits, symmetric, candidates[0])
    for part in candidates[1:]:
        other, scale, zero, error = _rounded(blocks, bits, symmetric, part)
        better = error < least
        levels[better], scales[better] = other[better], scale[better]
        zeros[better], least[better] = zero[better], error[better]
    return levels, scales, zeros


def _rounded(
    blocks: Floats, bits: Bits, symmetric: bool, part: np.float32
) -> tuple[Levels, Floats, Levels, Floats]:
    """Levels, scales, zero points and squared errors for a fraction of each block's range."""
    top = 2**bits - 1
    if symmetric:
        least, most = blocks.min(-1), blocks.max(-1)
        largest = np.where(most > -least, most, least)
        scales = part * largest / -np.float32(2 ** (bits - 1))
        zeros = np.full(scales.shape, 2 ** (bits - 1), np.float32)
    else:
        least, most = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
        scales = part * (most - least) / np.float32(top)
        zeros = np.round(_over(-part * least, scales)).clip(0, top)
    scales = scales.astype(np.float32)
    found = np.round(_over(blocks, scales[..., None])) + zeros[..., None]
    found = found.clip(0, top)
    errors = ((found - zeros[..., None]) * scales[..., None] - blocks) ** 2
    return found.astype(np.uint8), scales, zeros.astype(np.uint8), errors.sum(-1)


def _over(values: Floats, scales: Floats) -> Floats:
    """Values divided by scales; 0 where a scale is 0."""
    return np.divide(values, scales, out=np.zeros_like(values), where=scales != 0)
