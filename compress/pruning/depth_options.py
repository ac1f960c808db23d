"""What may be asked of removing layers. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.core.stage import Options
from compress.errors import StageError

DepthCriterion = Literal["output", "block_influence"]


class DepthCalibration(Options):
    """Data on which it is measured what a layer does."""

    samples: int = Field(default=256, ge=1)
    """First samples of the calibration split that are run through the model."""
    batch_size: int = Field(default=32, ge=1)
    """Samples at a time; memory grows with it, the result doesn't depend on it. Of text generation
    fewer are taken where answers a vocabulary wide would fill the memory."""


def remaining_layers(*, layers: int | None, ratio: float | None, total: int) -> int:
    """How many layers remain of a model's `total`.

    Parameters
    ----------
    layers : that many; or
    ratio : all but this fraction, to the nearest whole layer.

    Raises
    ------
    StageError : that removes none of them, or all.
    """
    if layers is not None:
        if layers >= total:
            raise StageError(
                f"'layers' must be at most {total - 1}: the model has {total} layers. Got {layers}."
            )
        return layers
    ratio = ratio or 0.0
    removed = int(ratio * total + 0.5)
    if not 0 < removed < total:
        raise StageError(
            f"'ratio' must remove from 1 to {total - 1} of the model's {total} layers. "
            f"Got {ratio:g}, which removes {removed}."
        )
    return total - removed
