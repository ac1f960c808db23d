"""Compares the answers of a bundle's example script with those of the measured pipeline."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stderr
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from compress.core.foreign.boundary import foreign
from compress.errors import ParityError, StageError, clipped
from compress.exporting.examples import answers as example_answers
from compress.exporting.examples.write import SCRIPT, example_script
from compress.exporting.verify.check import Check

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.context import Task
    from compress.exporting.bundle.raw_samples import RawSamples

    Array = NDArray[Any]

SECONDS = 120
"""Seconds that a script may take for eight samples."""
INPUT_TOLERANCE = 1e-3
"""Largest difference between two preprocessed images with values of about 1. It allows for float32
rounding, and is far smaller than one of Pillow's 255 levels."""
Precision = Literal["fp32", "fp16", "int8"]
TOLERANCES = {"fp32": 1e-3, "fp16": 1e-2}
"""Largest difference of answers, relative to the largest one if that is over 1."""
INT8_TOLERANCE = 0.05
"""Root mean square of the differences, relative to that of the answers; or fraction of words."""
_TINY = float(np.finfo(np.float32).tiny)


def require_same(
    folder: Path, raw: RawSamples, *, task: Task, exact: bool, precision: str | None = None
) -> tuple[Array, str]:
    """Run the example of a bundle that was just written; return its answers, and a note.

    Parameters
    ----------
    exact : whether 8-bit matmuls can't saturate on this CPU. If they can, the example asks ONNX
        Runtime for more exact ones than were measured, and its answers may differ.
    precision : the one that answers, of a bundle with several.

    Raises
    ------
    ParityError : its inputs or its answers for the raw samples differ from the measured ones.
    StageError : the script fails.
    """
    with tempfile.TemporaryDirectory() as place:
        samples = given(raw, Path(place))
        script = example_script(task, precisions=precision is not None)
        # What it says of its precision isn't for this terminal.
        quiet = nullcontext() if precision is None else redirect_stderr(io.StringIO())
        with foreign(f"the bundle's {SCRIPT}", error=StageError), quiet:
            found = example_answers.example_answers(
                script, folder, target=task.target, samples=samples, precision=precision
            )
    for name, wanted in raw.inputs.items():
        _require_inputs(name, found[f"inputs/{name}"], wanted)
    same, said = compared(found["answers"], raw.answers, target=task.target)
    if not same and exact:
        raise ParityError(
            f"the bundle's {SCRIPT} doesn't answer as the model was measured: {said}."
        )
    return found["answers"], f"{SCRIPT} on {_count(raw)} raw samples: {said}"


def run_example(
    folder: Path, raw: RawSamples, *, task: Task, precision: Precision, default: str | None = None
) -> Check:
    """Run the example of a foreign bundle on its raw samples, in a process of its own.

    This package's own text runs, and only if the bundle's file has the same text.

    Parameters
    ----------
    precision : the model's precision. At lower precision, answers vary more from CPU to CPU.
    default : the name of the model's precision, in a bundle with several.
    """
    path = folder / SCRIPT
    script = example_script(task, precisions=default is not None)
    if not path.is_file() or path.read_bytes() != script.encode():
        ours = f"it isn't the {SCRIPT} that compress {version('compress')} writes"
        return Check("example", "warning", f"not run: {ours}")
    found = _in_a_process(script, folder, raw, task, default)
    if isinstance(found, str):
        return Check("example", "failed", f"{SCRIPT} fails on the raw samples: {found}")
    same, said = compared(found["answers"], raw.answers, target=task.target, precision=precision)
    text = f"{SCRIPT} on {_count(raw)} raw samples: {said}"
    return Check("example", "ok" if same else "failed", text)


def compared(
    got: Array, wanted: Array, *, target: str, precision: Precision = "fp32"
) -> tuple[bool, str]:
    """Return whether answers are the same up to a tolerance, and their difference in words."""
    if got.shape != wanted.shape:
        return False, f"answers of shape {list(got.shape)}, and {list(wanted.shape)} were measured"
    if target == "token-class":
        share = float((got == wanted).mean()) if got.size else 1.0
        least = 1 - INT8_TOLERANCE if precision == "int8" else 1.0
        return share >= least, f"{share:.0%} of the words have the same class"
    got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    if precision == "int8":
        error = float(np.linalg.norm(got - wanted)) / max(float(np.linalg.norm(wanted)), _TINY)
        return error <= INT8_TOLERANCE, f"answers differ by {error:.1%}"
    largest = float(np.abs(got - wanted).max())
    allowed = TOLERANCES[precision] * max(1.0, float(np.abs(wanted).max()))
    return largest <= allowed, f"largest difference {largest:.1e} (at most {allowed:.1e})"


def given(raw: RawSamples, place: Path) -> list[Any]:
    """Return the samples as a script takes them: images and arrays as files in a folder."""
    if raw.kind not in ("image", "arrays"):
        return list(raw.values)
    suffix = "npz" if raw.kind == "arrays" else "image"
    files = [place / f"{at}.{suffix}" for at in range(len(raw.values))]
    for file, content in zip(files, raw.values, strict=True):
        file.write_bytes(content)
    return [str(file) for file in files]


def _count(raw: RawSamples) -> int:
    return len(raw.answers) if raw.kind == "arrays" else len(raw.values)


def _require_inputs(name: str, got: Array, wanted: Array) -> None:
    said = f"the bundle's {SCRIPT} makes other inputs of the raw samples than were measured"
    if got.shape != wanted.shape:
        shapes = f"{name} is {list(got.shape)}, and {list(wanted.shape)} was measured"
        raise ParityError(f"{said}: {shapes}.")
    apart = np.abs(got.astype(np.float64) - wanted)
    allowed = INPUT_TOLERANCE * max(1.0, float(np.abs(wanted).max())) * (wanted.dtype.kind == "f")
    if apart.size and float(apart.max()) > allowed:
        sample = int(np.unravel_index(apart.argmax(), apart.shape)[0])
        place = f"of sample {sample}" if apart.ndim > 1 else f"at token {sample}"
        raise ParityError(f"{said}: {name} {place} differs by {float(apart.max()):.2g}.")


def _in_a_process(
    script: str, folder: Path, raw: RawSamples, task: Task, precision: str | None
) -> Mapping[str, Array] | str:
    """Return the script's answers, or the reason why there are none."""
    with tempfile.TemporaryDirectory() as place:
        to = Path(place) / "answers.npz"
        request: dict[str, str | Sequence[Any] | None] = {
            "script": script,
            "folder": str(folder.resolve()),
            "target": task.target,
            "samples": given(raw, Path(place)),
            "to": str(to),
            "precision": precision,
        }
        try:
            ended = subprocess.run(  # noqa: S603 (our interpreter, our program)
                [sys.executable, "-I", str(Path(example_answers.__file__))],
                input=json.dumps(request),
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                cwd=place,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"it took longer than {SECONDS} s"
        if ended.returncode != 0 or not to.is_file():
            last = (ended.stderr.strip() or f"exit code {ended.returncode}").splitlines()[-1]
            return clipped(last)
        with np.load(to, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
