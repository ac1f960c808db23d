"""OpenVINO's own form of a bundle's model (IR), which it loads without reading ONNX."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from compress.errors import ParityError
from compress.exporting.examples.check import TOLERANCES
from compress.exporting.parity.compare import compare, onnx_answers
from compress.exporting.verify.answers import precision_of
from compress.measurement.runtimes.openvino import OpenVinoModel, write_own_form

if TYPE_CHECKING:
    from pathlib import Path

    from compress.core.context import Batch, Target

FORM = "openvino_model.xml"
"""The file of operators, as optimum-intel names it; that of weights is `openvino_model.bin`."""


def write_form(model: Path, *, batches: Iterable[Batch], target: Target) -> str:
    """Write the IR beside an ONNX file, and compare the answers; return a note.

    Parameters
    ----------
    batches : real samples.
    target : the kind of a sample's label.

    Raises
    ------
    StageError : OpenVINO isn't installed or can't read the file.
    ParityError : a float model's answers in OpenVINO aren't those in ONNX Runtime. Those of INT8
        are rounded otherwise; the note says how many agree.
    """
    path = model.with_name(FORM)
    write_own_form(model, path)
    found = compare(
        onnx_answers(model),
        OpenVinoModel(path, threads=1).answer,
        batches=batches,
        target=target,
    ).require_finite(path)
    precision = precision_of(model)
    said = f"{found.top1()}, largest difference {found.max_error:.1e}"
    if precision != "int8":
        allowed = TOLERANCES[precision] * max(1.0, found.scale)
        if found.max_error > allowed:
            raise ParityError(
                f"{FORM} doesn't answer as {model.name} does: {said}. Allowed: {allowed:.1e}."
            )
    return f"{FORM} in OpenVINO beside {model.name} in ONNX Runtime: {said}"
