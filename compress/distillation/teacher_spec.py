"""Options of a teacher."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.core.bounds import MOST_UNITS
from compress.core.options import Options


class CacheSpec(Options):
    """A cache of the teacher's answers: computed once, kept on disk for all epochs and stages."""

    top_k: int | None = Field(default=None, ge=1, le=MOST_UNITS)
    """Keep only so many of the largest logits of each sample or token, with the mass of all others;
    null keeps all."""
    dtype: Literal["fp16", "fp32"] = "fp32"
    """Type of the stored numbers. fp16 halves the bytes, with an error of up to 0.05 % of each
    number."""

    def summarize(self) -> str:
        """Return a few words for the recipe check."""
        return f"{f'top {self.top_k}, ' if self.top_k else ''}{self.dtype}"


class TeacherSpec(Options):
    """How the teacher, which is the reference model, is stored and run."""

    bits: Literal[4, 8] | None = None
    """Bits of the linear layers, through bitsandbytes, to save memory; null for full precision."""
    cache: CacheSpec | None = None
    """Cache its answers on disk; null computes the answers to every batch."""

    def summarize(self) -> str:
        """Return a few words for the recipe check; empty for the defaults."""
        bits = [] if self.bits is None else [f"in {self.bits} bits"]
        cache = [] if self.cache is None else [f"cached ({self.cache.summarize()})"]
        return ", ".join([*bits, *cache])
