"""A stage as a third party would write one: weights rounded to fewer mantissa bits."""

from copy import deepcopy
from typing import ClassVar

from pydantic import Field

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.stages.contract import Stage


class RoundWeights(Stage):
    """Round every weight to so many significant bits, so that files compress better."""

    accepts: ClassVar = {Format.TORCH: Format.TORCH}

    bits: int = Field(default=10, ge=1, le=23)
    """Mantissa bits that are kept."""

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        import torch

        module = deepcopy(artifact.require_module())
        with torch.no_grad():
            for parameter in module.parameters():
                mantissa, exponent = torch.frexp(parameter)
                scale = 2.0 ** (self.bits + 1)
                parameter.copy_(torch.ldexp(torch.round(mantissa * scale) / scale, exponent))
        return artifact.with_module(module, notes=(f"weights rounded to {self.bits} bits",))
