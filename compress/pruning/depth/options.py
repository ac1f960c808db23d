"""What may be asked of removing layers. No torch here."""

from __future__ import annotations

from typing import Literal

from compress.errors import StageError

DepthCriterion = Literal["output", "block_influence"]


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
