"""Writes several precisions of a model into its bundle, and measures each against float32."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.files.atomic import write_text
from compress.exporting.bundle.conventions import write_json
from compress.exporting.bundle.layout import link
from compress.exporting.bundle.precisions import PRECISIONS_FILE, table
from compress.exporting.bundle.write import MODEL
from compress.exporting.exported import write_exported
from compress.measurement.cpu import this_cpu
from compress.onnx_graph.files import check_file, external_files, load_model, save_model
from compress.onnx_graph.single_precision import in_single_precision
from compress.quantization.evaluation import FLOAT, Candidate, record
from compress.stages.precisions.make import PrecisionMaker
from compress.stages.quantize.evaluate import make_evaluator
from compress.stages.quantize.options import QuantizeOptions
from compress.stages.quantize.run import CANDIDATES
from compress.stages.quantize.verdict import costs

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.exporting.bundle.precisions import BundlePrecision
    from compress.exporting.exported import ExportOptions
    from compress.measurement.results import Evaluation
    from compress.quantization.options import EvaluationOptions


def write_precisions(
    artifact: Artifact,
    context: Context,
    directory: Path,
    *,
    precisions: Sequence[BundlePrecision],
    options: ExportOptions,
    evaluation: EvaluationOptions,
) -> tuple[dict[BundlePrecision, Path], tuple[str, ...]]:
    """Write the file of each precision, model.onnx, precisions.json and candidates.json.

    Parameters
    ----------
    artifact : a float model.
    directory : the bundle's folder.
    precisions : the precisions; model.onnx is a hard link to the file of the first.
    options : how the float32 file is written that all are made from.
    evaluation : how the files are measured.

    Returns
    -------
    The file of each precision, and notes.

    Raises
    ------
    ParityError : the float32 file's answers differ from the module's, or the fp16 file's from it.
    StageError : the model can't be given in one of the precisions.
    """
    working = context.directory / "precisions"
    working.mkdir()
    full = working / "fp32.onnx"
    notes = [*write_exported(artifact, context, full, options=options), *_made_single(full)]
    asked = QuantizeOptions(evaluation=evaluation)
    # INT8 is taken on CPUs whose 8-bit products are exact.
    evaluator = replace(make_evaluator(asked, artifact, context, source=full), exact=True)
    maker = PrecisionMaker(
        artifact, context, source=full, bundle=directory, folder=working, samples=options.samples
    )
    made = {precision: maker.make(precision, evaluator) for precision in precisions}
    evaluations = evaluator.judge([each for name, each in made.items() if name != "fp32"])
    default = Candidate(FLOAT, full) if precisions[0] == "fp32" else made[precisions[0]]
    write_text(context.directory / CANDIDATES, record(evaluations, chosen=default))
    _put_first(made[precisions[0]].path, directory / MODEL)
    write_json(directory / PRECISIONS_FILE, table(precisions))
    here = this_cpu()
    if "int8" in made and here.target != maker.cpu:
        notes.append(f"int8 is for {maker.cpu} and was timed on another kind of CPU: {here}")
    notes += [f"{each.name}: {note}" for each in made.values() for note in each.notes]
    notes += _warnings(evaluations, default.name, asked.budget)
    shutil.rmtree(working)
    return {name: each.path for name, each in made.items()}, tuple(notes)


def _made_single(path: Path) -> list[str]:
    """Let the floats of a file be float32; return a note if they weren't."""
    model = load_model(path)
    kinds = in_single_precision(model)
    if not kinds:
        return []
    save_model(model, path)
    check_file(path, types=False)
    return [f"weights stored in {' and '.join(kinds)} became float32"]


def _put_first(default: Path, model: Path) -> None:
    """Give the first precision's file the name model.onnx too, with its external data beside it."""
    link(default, model)
    for file in external_files(default):
        link(file, model.parent / file.name)


def _warnings(evaluations: Sequence[Evaluation], default: str, budget: float) -> list[str]:
    """Return notes on precisions that lose much, and on what model.onnx costs."""
    lossy = [
        f"{each.name} loses {each.loss:.4f} on validation samples, more than {budget:g}"
        for each in evaluations
        if not each.fits
    ]
    own = next(each for each in evaluations if each.name == default)
    return [*lossy, *(costs(own, evaluations[0]) if own is not evaluations[0] else [])]
