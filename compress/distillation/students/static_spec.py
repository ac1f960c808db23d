"""The recipe's options of a static student."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from compress.core.bounds import MOST_UNITS
from compress.core.options import Options
from compress.errors import expected


class StaticSpec(Options):
    """One vector for each token, and a text's embedding is their mean, as in Model2Vec (Tulkens and
    van Dongen, 2024).

    The vector of a token begins as the teacher's embedding of that token alone."""

    dimensions: Annotated[int, Field(ge=1, le=MOST_UNITS)] | None = None
    """Width of an embedding, at most the teacher's: its largest principal components. Null: as
    wide as the teacher's."""
    pca: bool = True
    """Turn the vectors to their principal components, and subtract their mean."""
    weighting: Literal["sif", "none"] = "sif"
    """Weight of a token in the mean: `sif` is a / (a + p), where p is the token's share of the
    train split's tokens (Arora et al., "A Simple but Tough-to-Beat Baseline for Sentence
    Embeddings", ICLR 2017); `none` weighs all alike."""
    sif: float = Field(default=1e-3, gt=0, le=1)
    """The number a of `weighting: sif`. A smaller one lowers more of the frequent tokens."""

    @model_validator(mode="after")
    def _reduced_by_pca(self) -> Self:
        if self.dimensions is not None and not self.pca:
            raise ValueError(expected("dimensions", "null without 'pca'", self.dimensions))
        return self

    def summarize(self) -> str:
        """Such as "static, 256 dimensions, sif"."""
        width = "the teacher's" if self.dimensions is None else str(self.dimensions)
        weighted = f", {self.weighting}" if self.weighting != "none" else ""
        return f"static, {width} dimensions{weighted}"
