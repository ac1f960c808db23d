"""What a recipe says about a teacher."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.core.bounds import MOST_UNITS
from compress.core.options import Options


class CacheSpec(Options):
    """The teacher's answers, computed once and kept on disk for all epochs and later stages."""

    top_k: int | None = Field(default=None, ge=1, le=MOST_UNITS)
    """Only the largest logits of each sample or token, with the mass of all others; null: all."""
    dtype: Literal["fp16", "fp32"] = "fp32"
    """What numbers are kept in. fp16 halves the bytes and errs by up to 0.05 % of each number."""

    def summarize(self) -> str:
        """A few words for the recipe check."""
        return f"{f'top {self.top_k}, ' if self.top_k else ''}{self.dtype}"


class TeacherSpec(Options):
    """How the teacher, which is the reference model, is held and asked."""

    bits: Literal[4, 8] | None = None
    """Linear layers in so many bits through bitsandbytes, to fit beside the student; null: fp32."""
    cache: CacheSpec | None = None
    """Keep its answers on disk; null: it answers every batch anew."""

    def summarize(self) -> str:
        """A few words for the recipe check; empty for the defaults."""
        bits = [] if self.bits is None else [f"in {self.bits} bits"]
        cache = [] if self.cache is None else [f"cached ({self.cache.summarize()})"]
        return ", ".join([*bits, *cache])
