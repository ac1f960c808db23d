"""The interface that measures a module for targets that can't be counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import nn


class Meter(Protocol):
    """Measures modules as they will be deployed. The caller implements it, as it may export."""

    @property
    def batch_size(self) -> int:
        """Number of samples in a call whose latency is measured."""
        ...

    def size_bytes(self, module: nn.Module) -> int:
        """Bytes of the ONNX file to which a module exports, in fp32."""
        ...

    def latency_ratio(self, module: nn.Module, original: nn.Module) -> float:
        """Latency of a module ÷ latency of the original, measured now, in alternation."""
        ...
