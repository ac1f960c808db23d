"""The 8-bit integer types of activations and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["uint8", "int8"]


@dataclass(frozen=True)
class Integers:
    """The 8-bit types of a quantized graph.

    Attributes
    ----------
    activations : type of activations; unsigned is asymmetric, and signed is symmetric.
    weights : type of weights; always symmetric, with the zero point 0, or 128 if unsigned.
    reduce_range : weights use 7 bits, so that the sum of two products can't saturate 16 bits.
    """

    activations: Kind = "uint8"
    weights: Kind = "int8"
    reduce_range: bool = False

    def __str__(self) -> str:
        short = {"uint8": "U8", "int8": "S8"}
        bits = ", 7-bit weights" if self.reduce_range else ""
        return f"{short[self.activations]}{short[self.weights]}{bits}"
