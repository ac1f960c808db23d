"""What may be asked of pruning. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from compress.core.stage import Options

Unit = Literal["channels", "feed_forward", "heads", "head_width", "hidden"]
Scope = Literal["global", "isomorphic", "layer"]
Criterion = Literal[
    "magnitude", "batch_norm", "lamp", "fpgm", "random", "taylor", "hessian", "activation"
]
Quantity = Literal["macs", "params", "size", "latency"]


class Target(Options):
    """The fraction of the model given that remains, of exactly one quantity."""

    macs: float | None = Field(default=None, gt=0, lt=1)
    """Multiply-accumulates of one sample that remain, attention's matrix products included."""
    params: float | None = Field(default=None, gt=0, lt=1)
    """Parameters that remain; all parameters of the model count, embeddings included."""
    size: float | None = Field(default=None, gt=0, lt=1)
    """Bytes of the ONNX file that remain, in fp32."""
    latency: float | None = Field(default=None, gt=0, lt=1)
    """Measured latency in ONNX Runtime on this machine that remains."""

    @model_validator(mode="after")
    def _one_target(self) -> Target:
        given = self._given()
        if len(given) != 1:
            raise ValueError(
                f"exactly one of {', '.join(type(self).model_fields)} must be given. "
                f"Got {' and '.join(given) or 'none'}."
            )
        return self

    @property
    def quantity(self) -> Quantity:
        """What the target counts."""
        return next(iter(self._given()))

    @property
    def fraction(self) -> float:
        """The fraction that remains, in (0, 1)."""
        return next(iter(self._given().values()))

    def _given(self) -> dict[Quantity, float]:
        every: dict[Quantity, float | None] = {
            "macs": self.macs,
            "params": self.params,
            "size": self.size,
            "latency": self.latency,
        }
        return {name: value for name, value in every.items() if value is not None}
