"""Calibration samples as stages read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context, Loader
    from compress.data.calibration import Calibration


def calibration_batches(
    wanted: Calibration, artifact: Artifact, context: Context
) -> tuple[Loader, str]:
    """Return the batches and a description of them, such as "256 calibration samples".

    The description says so where the data has fewer calibration samples than are wanted.
    """
    from compress.exporting.checked import answer_batch_size

    preprocessor = artifact.require_preprocessor()
    loader = context.data.loader(
        "calibration",
        preprocessor,
        batch_size=answer_batch_size(preprocessor, task=context.task, most=wanted.batch_size),
        limit=wanted.samples,
    )
    used = min(wanted.samples, context.data.size("calibration"))
    fewer = "" if used == wanted.samples else f" (of {wanted.samples} asked for)"
    return loader, f"{used} calibration samples{fewer}"
