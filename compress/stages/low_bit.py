"""Stores the linear layers in 8 or 4 bits through bitsandbytes, for use in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Literal

from compress.core.artifact import Format
from compress.stages.contract import Stage

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.data.spec import DataSpec
    from compress.models.spec import ModelSpec

_NAMES = {8: "LLM.int8()", 4: "NF4"}


class LowBit(Stage):
    """Store linear layers in 8 bits (LLM.int8()) or 4 bits (NF4) for PyTorch. No stage follows."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH_INT8}

    bits: Literal[8, 4] = 8
    """Bits of a weight. With 8, outlier activations are multiplied separately; with 4, each 64
    weights share a scale."""

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the artifact with layers of bitsandbytes, on the CPU.

        Raises
        ------
        StageError : bitsandbytes isn't installed, or no layer can be stored in so few bits.
        """
        from compress.models.low_bit.layers import low_bit_layers, stored_bytes, to_low_bit
        from compress.models.source import LowBitSource

        module, source = artifact.require_module(), artifact.source
        if source is None:
            raise TypeError("a source is needed. Got an artifact that has none.")
        layers = low_bit_layers(module, bits=self.bits)
        smaller = to_low_bit(module, bits=self.bits, device="cpu")
        notes = (
            f"{len(layers)} linear layers in {self.bits} bits ({_NAMES[self.bits]}): "
            f"{stored_bytes(smaller):,} bytes of tensors instead of {stored_bytes(module):,}",
        )
        return artifact.with_module(
            smaller,
            source=LowBitSource(source, self.bits, layers),
            format=Format.TORCH_INT8,
            notes=notes,
        )

    def dry_run(self, artifact: Artifact, context: Context) -> Artifact | None:
        """Return None, as no stage follows; raise where no layer can be stored in so few bits."""
        from compress.models.low_bit.layers import low_bit_layers

        low_bit_layers(artifact.require_module(), bits=self.bits)
        return None

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """Return a problem where bitsandbytes isn't installed."""
        if find_spec("bitsandbytes") is None:
            return [("bits", "needs bitsandbytes: pip install 'compress[bitsandbytes]'.")]
        return []

    def summarize(self) -> str:
        """Such as "8 bits, LLM.int8(), for PyTorch"."""
        return f"{self.bits} bits, {_NAMES[self.bits]}, for PyTorch"
