"""Options of depth pruning. No torch here."""

from __future__ import annotations

from typing import Literal

from compress.errors import StageError

DepthCriterion = Literal["output", "block_influence"]


def remaining_layers(*, layers: int | None, ratio: float | None, total: int) -> int:
    """The number of layers that remain of a model's `total`.

    Parameters
    ----------
    layers : the number of layers that remain; or
    ratio : the fraction of layers that is removed, rounded to whole layers.

    Raises
    ------
    StageError : none of the layers, or all of them, would be removed.
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
