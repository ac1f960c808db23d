"""Proves that a bundle is whole and runs here as it did where it was made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from compress.core.files import file_digest
from compress.errors import InputError, StageError, expected
from compress.exporting.bundle import MODEL
from compress.exporting.check import Check
from compress.exporting.onnx_file import check_file
from compress.exporting.samples import SAMPLES_FILE
from compress.exporting.verify_answers import Answering
from compress.measurement.cpu import TARGET_KEY, this_cpu
from compress.measurement.graph import load_graph
from compress.measurement.saturation import can_saturate
from compress.measurement.session import session
from compress.measurement.size import external_files

MANIFEST = "manifest.json"
LABELS = "labels.json"
RUN_FILES = ("report.json", "report.md", "report.html", "stages", MANIFEST)
"""What a run keeps beside its bundle."""


def verify_bundle(folder: Path) -> Iterator[Check]:
    """Check a published bundle, one thing after another; nothing in it is executed or changed.

    Files against the manifest, the model in `onnx.checker` and ONNX Runtime, its answers to the
    stored samples, its labels, other batch sizes and lengths, and whether it suits this CPU.

    Parameters
    ----------
    folder : with a manifest.json.

    Raises
    ------
    InputError : it is no bundle.
    """
    manifest = read_manifest(folder)
    yield from _files(folder, manifest["files"])
    broken = False
    for file in _models(folder, manifest["files"]):
        found = _tried("model", partial(_loads, file))
        broken |= found.status == "failed"
        yield found
    model = folder / MODEL
    if broken or not model.is_file():
        yield Check("answers", "failed", "not tried: the model can't be loaded")
        return
    answering = Answering(model, folder / SAMPLES_FILE, task=str(manifest.get("task")))
    yield _tried("answers", answering.as_published)
    yield _tried("labels", lambda: answering.labels(_labels(folder / LABELS)))
    yield _tried("shapes", answering.other_shapes)
    yield _cpu(model)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle.

    Raises
    ------
    InputError : there is none, or it isn't one of ours.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{folder} is no bundle: it has no {MANIFEST} that can be read."
        ) from error
    except ValueError as error:
        raise InputError(f"{folder} is no bundle: its {MANIFEST} is no JSON ({error}).") from error
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or MODEL not in files:
        raise InputError(f"{folder} is no bundle: its {MANIFEST} names no {MODEL}.")
    return dict(manifest)


def _tried(name: str, check: Callable[[], Check]) -> Check:
    """The check, or what kept it from its end."""
    try:
        return check()
    except (StageError, InputError) as error:
        return Check(name, "failed", str(error))


def _files(folder: Path, files: dict[str, dict[str, Any]]) -> Iterator[Check]:
    """A line for each file that isn't as it was, one for all the others, one for strangers."""
    whole = 0
    for name, entry in files.items():
        problem = _difference(folder, name, entry)
        if problem is None:
            whole += 1
        else:
            yield Check("files", "failed", f"{name} {problem}")
    if whole:
        yield Check("files", "ok", f"{whole} of {len(files)} have the size and SHA-256 they had")
    known = {Path(name).parts[0] for name in files} | set(RUN_FILES)
    strange = sorted(path.name for path in folder.iterdir() if path.name not in known)
    inside = {folder / name for name in files}
    for name in {Path(name).parts[0] for name in files if len(Path(name).parts) > 1}:
        found = (path for path in (folder / name).rglob("*") if path.is_file())
        strange += sorted(str(path.relative_to(folder)) for path in found if path not in inside)
    if strange:
        yield Check("files", "warning", f"not in the manifest: {', '.join(strange)}")


def _difference(folder: Path, name: str, entry: dict[str, Any]) -> str | None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return "lies outside the bundle"
    if not path.is_file():
        return "is missing"
    if (size := path.stat().st_size) != entry.get("bytes"):
        return f"has {size:,} bytes, and had {entry.get('bytes'):,}"
    if file_digest(path) != entry.get("sha256"):
        return "has other contents than it had (its SHA-256 differs)"
    return None


def _models(folder: Path, files: dict[str, Any]) -> list[Path]:
    return [folder / name for name in files if name.endswith(".onnx") and (folder / name).is_file()]


def _loads(file: Path) -> Check:
    external_files(file)  # which lie in the bundle, or it isn't loaded
    check_file(file)
    opened = session(file, threads=1)
    inputs = ", ".join(value.name for value in opened.get_inputs())
    outputs = ", ".join(value.name for value in opened.get_outputs())
    text = f"{file.name} is valid and loads; it takes {inputs} and gives {outputs}"
    return Check("model", "ok", text)


def _labels(path: Path) -> list[str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"can't read {path.name}: {error}") from error
    if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
        raise InputError(expected(path.name, "a list of names", found))
    return found


def _cpu(model: Path) -> Check:
    """Whether the products are exact here, and what the model was quantized for."""
    here = this_cpu()
    metadata = {entry.key: entry.value for entry in load_graph(model).metadata_props}
    target = metadata.get(TARGET_KEY)
    made = f"quantized for {target}; " if target else ""
    danger = can_saturate(model, here.target)
    if danger is not None:
        return Check("CPU", "warning", f"{made}this CPU is {here}: {danger}")
    return Check("CPU", "ok", f"{made}this CPU is {here}, where no product can saturate")
