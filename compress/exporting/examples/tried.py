"""Tries the example script of a bundle that was just written, on raw samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.exporting.bundle.raw_samples import RawSamples, answered
from compress.exporting.bundle.samples import LARGEST
from compress.exporting.examples.check import require_same
from compress.exporting.examples.write import SCRIPT
from compress.measurement.cpu import this_cpu
from compress.measurement.saturation import can_saturate
from compress.tasks.contract import Task as OwnTask

if TYPE_CHECKING:
    from compress.core.artifact import Preprocessor
    from compress.core.context import Batch, Raw, Task
    from compress.exporting.bundle.precisions import BundlePrecision


def tried(
    model: Path,
    raw: Raw,
    batch: Batch,
    *,
    preprocessor: Preprocessor,
    task: Task,
    precision: BundlePrecision | None = None,
) -> tuple[RawSamples | None, tuple[str, ...]]:
    """Run a bundle's example on raw samples; return them with their answers, and notes.

    Parameters
    ----------
    model : the bundle's ONNX file; of a bundle with several, that of `precision`.
    raw : a few raw samples of the data.
    batch : the loader's batch of these samples.
    precision : the one that the script is to take, of a bundle with several.

    Returns
    -------
    The samples that may be kept, or None if the script can't take them or they are too large; and
    notes.

    Raises
    ------
    ParityError : the example's inputs or answers differ from the measured ones.
    StageError : the example fails.
    """
    takes_arrays = isinstance(task, OwnTask) and task.script_file is None
    if not raw.values and not takes_arrays:
        return None, (f"{SCRIPT} wasn't tried: no sample holds a text to continue",)
    folder = model.parent if precision is None else model.parent.parent
    constants = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))
    if not constants.get("exact", True):
        return None, (f"{SCRIPT} takes preprocessed arrays alone: no constants say it all",)
    reads_texts = task.modality == "text" and not takes_arrays
    if reads_texts and not (folder / "tokenizer.json").is_file():
        return None, (f"{SCRIPT} can't read texts: there is no tokenizer.json of this tokenizer",)
    postprocessing = json.loads((folder / "postprocessing.json").read_text(encoding="utf-8"))
    kept = answered(
        model,
        raw,
        batch,
        preprocessor=preprocessor,
        task=task,
        postprocessing=postprocessing,
        most_bytes=LARGEST,
        exact=precision is not None,
    )
    if kept is None:
        return None, (f"{SCRIPT} wasn't tried: a raw sample is larger than {LARGEST:,} bytes",)
    exact = precision is not None or can_saturate(model, this_cpu().target) is None
    answers, note = require_same(folder, kept, task=task, exact=exact, precision=precision)
    return (kept if exact else replace(kept, answers=answers)), (note,)
