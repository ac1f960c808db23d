"""Which 8-bit numbers activations and weights become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["uint8", "int8"]


@dataclass(frozen=True)
class Integers:
    """The 8-bit types of a quantized graph.

    Attributes
    ----------
    activations : asymmetric where unsigned, symmetric where signed.
    weights : symmetric (a zero point of 0, or of 128 where unsigned).
    reduce_range : weights keep to 7 bits, so that two products can't saturate 16 bits.
    """

    activations: Kind = "uint8"
    weights: Kind = "int8"
    reduce_range: bool = False

    def __str__(self) -> str:
        short = {"uint8": "U8", "int8": "S8"}
        bits = ", 7-bit weights" if self.reduce_range else ""
        return f"{short[self.activations]}{short[self.weights]}{bits}"
