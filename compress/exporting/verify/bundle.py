"""Checks that a bundle is whole, and that its answers here are those of the place it was made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

from compress.core.files.atomic import file_digest
from compress.core.files.confined import inside
from compress.core.files.owned import is_folder, plain_tree
from compress.core.files.sealed import is_whole
from compress.core.foreign.boundary import reading
from compress.errors import InputError, StageError, clipped, expected
from compress.exporting.bundle.manifest import MANIFEST, read_manifest, wrong_entry
from compress.exporting.bundle.precisions import chosen, read_precisions, words_of_cpu
from compress.exporting.bundle.samples import SAMPLES_FILE, read_samples
from compress.exporting.bundle.write import MODEL
from compress.exporting.examples.check import run_example
from compress.exporting.openvino_form import FORM
from compress.exporting.verify.answers import Answering, precision_of
from compress.exporting.verify.check import Check
from compress.measurement.child.process import Told
from compress.measurement.child.watch import Unwatched, Watch
from compress.measurement.cpu import TARGET_KEY, this_cpu
from compress.measurement.runtimes.names import missing
from compress.measurement.runtimes.openvino import OpenVinoModel
from compress.measurement.saturation import can_saturate
from compress.measurement.session import session
from compress.onnx_graph.files import check_file, external_files
from compress.onnx_graph.metadata import metadata_of
from compress.tasks.registry import outline, task_names

LABELS = "labels.json"
RUN_FILES = (
    "report.json",
    "report.md",
    "report.html",
    "logs",
    "stages",
    ".compress",
    ".compress-run.json",
    MANIFEST,
)
"""Files that a run keeps beside its bundle."""


def verify_bundle(folder: Path, *, watch: Watch | None = None) -> Iterator[Check]:
    """Yield the checks of a published bundle; none executes or changes anything in it.

    The checks are: the files against the manifest, the model in `onnx.checker` and ONNX Runtime,
    its answers to the stored samples (of each precision, where there are several), the example
    script (in this package's own text) on raw samples, the labels, other batch sizes and lengths,
    OpenVINO's own form of the model if there is one, and the fit to this CPU.

    Parameters
    ----------
    folder : the bundle's folder, with a manifest.json.
    watch : told of each check that runs a model.

    Raises
    ------
    InputError : the folder is no bundle.
    """
    watch = watch or Unwatched()
    manifest = read_manifest(folder)
    if not is_whole(manifest):
        yield Check("files", "failed", f"{MANIFEST} isn't as it was written (its digest differs)")
    yield from _files(folder, manifest["files"])
    broken = False
    for file in _models(folder, manifest["files"]):
        watch.begin(f"loading {file.name}")
        found = _tried("model", partial(_loads, file))
        watch.end()
        broken |= found.status == "failed"
        yield found
    model = folder / MODEL
    if broken or not model.is_file():
        yield Check("answers", "failed", "not tried: the model can't be loaded")
        return
    task = str(manifest.get("task"))
    try:
        precisions = read_precisions(folder)
    except InputError as error:
        yield Check("choice", "failed", str(error))
        return
    default = None if precisions is None else str(precisions["default"])
    answering = Answering(model, folder / SAMPLES_FILE, task=task, precision=default)
    watched = partial(_watched, watch, model)
    yield watched("answers", answering.as_published)
    if precisions is not None:
        choice = _tried("choice", partial(_choice, folder, precisions, manifest["files"]))
        yield choice
        for name, file in precisions["files"].items():
            if name != default and choice.status == "ok":
                yield _in_precision(folder, file, task=task, precision=name, watch=watch)
    if FORM in manifest["files"]:
        yield watched("OpenVINO", lambda: _in_openvino(folder, task, default))
    # In a process that has a limit of its own.
    yield _tried("example", lambda: _example(folder, task, default))
    yield watched("labels", lambda: answering.labels(_labels(folder / LABELS)))
    yield watched("shapes", answering.other_shapes)
    yield watched("CPU", lambda: _cpu(model))


def work(given: Mapping[str, Any], watch: Watch, told: Told) -> None:
    """Run the checks in the process of `verify_apart`."""
    for check in verify_bundle(Path(given["folder"]), watch=watch):
        told.tell("item", astuple(check))


def _watched(watch: Watch, model: Path, name: str, check: Callable[[], Check]) -> Check:
    watch.begin(f"the check of {model.name}'s {name}")
    found = _tried(name, check)
    watch.end()
    return found


def _tried(name: str, check: Callable[[], Check]) -> Check:
    """Return the check, or a failed one with the error that ended it."""
    try:
        return check()
    except (StageError, InputError) as error:
        return Check(name, "failed", str(error))


def _files(folder: Path, files: Mapping[str, object]) -> Iterator[Check]:
    """Yield a check for each changed file, one for all other files, and one for unknown files."""
    whole = 0
    for name, entry in files.items():
        problem = _difference(folder, name, entry)
        if problem is None:
            whole += 1
        else:
            yield Check("files", "failed", problem)
    if whole:
        yield Check("files", "ok", f"{whole} of {len(files)} have the size and SHA-256 they had")
    if strange := _strangers(folder, files):
        yield Check("files", "warning", f"not in the manifest: {', '.join(strange)}")


def _strangers(folder: Path, files: Mapping[str, object]) -> list[str]:
    """Return names that neither the manifest nor a run knows; no link is followed."""
    tops = {Path(name).parts[0]: len(Path(name).parts) > 1 for name in files if Path(name).parts}
    strange = sorted({path.name for path in folder.iterdir()} - tops.keys() - set(RUN_FILES))
    for top, has_more in tops.items():
        if has_more and top not in ("..", "/") and is_folder(folder / top):
            inner, _, others = plain_tree(folder / top)
            strange += [name for one in (*inner, *others) if (name := f"{top}/{one}") not in files]
    return strange


def _difference(folder: Path, name: str, entry: Any) -> str | None:
    """Return the problem of a file, beginning with its name, or None."""
    shown = clipped(name)
    try:
        path = inside(folder, name)
    except InputError as error:
        return str(error).rstrip(".")
    if (wrong := wrong_entry(entry)) is not None:
        return f"{shown} {wrong}"
    try:
        with reading(shown):
            change = _change(path, entry)
    except InputError as error:
        return str(error)
    return None if change is None else f"{shown} {change}"


def _change(path: Path, entry: Mapping[str, Any]) -> str | None:
    if not path.is_file():
        return "is missing"
    if (size := path.stat().st_size) != entry["bytes"]:
        return f"has {size:,} bytes, and had {entry['bytes']:,}"
    if file_digest(path) != entry["sha256"]:
        return "has other contents than it had (its SHA-256 differs)"
    return None


def _models(folder: Path, files: Mapping[str, object]) -> Iterator[Path]:
    """Yield the models that the manifest names, if they lie in the bundle."""
    for name in files:
        if name.endswith(".onnx"):
            with suppress(InputError):
                path = inside(folder, name)
                if path.is_file():
                    yield path


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


def _in_precision(folder: Path, file: str, *, task: str, precision: str, watch: Watch) -> Check:
    """Check the answers of one of several precisions; the text begins with its name."""
    model = inside(folder, file)
    answering = Answering(model, folder / SAMPLES_FILE, task=task, precision=precision)
    found = _watched(watch, model, "answers", answering.as_published)
    return Check(found.name, found.status, f"{precision}: {found.text}")


def _in_openvino(folder: Path, task: str, precision: str | None) -> Check:
    """Check that OpenVINO's own form of the model gives the stored answers."""
    if missing(["openvino"]) is not None:
        return Check("OpenVINO", "warning", f"{FORM} isn't run: OpenVINO isn't installed")
    form = OpenVinoModel(inside(folder, FORM), threads=1)
    samples = folder / SAMPLES_FILE
    answering = Answering(folder / MODEL, samples, task=task, precision=precision, by=form.run)
    found = answering.as_published()
    return Check("OpenVINO", found.status, f"{FORM}: {found.text}")


def _choice(folder: Path, precisions: Mapping[str, Any], files: Mapping[str, object]) -> Check:
    """Check that the files of all precisions are there; name the one that suits this CPU.

    Raises
    ------
    InputError : a file lies outside the folder.
    """
    paths = {file: inside(folder, file) for file in precisions["files"].values()}
    missing = [file for file, path in paths.items() if file not in files or not path.is_file()]
    if missing:
        return Check("choice", "failed", f"missing: {', '.join(missing)}")
    default = paths[precisions["files"][precisions["default"]]]
    if file_digest(default) != file_digest(folder / MODEL):
        return Check("choice", "failed", f"{MODEL} isn't the file of {precisions['default']}")
    here = chosen(precisions, provider="cpu", words=words_of_cpu())
    names = ", ".join(precisions["files"])
    return Check("choice", "ok", f"{names}; on this CPU the examples take {here}")


def _example(folder: Path, task: str, default: str | None) -> Check:
    """Check that the example script's answers to raw samples are the measured ones."""
    samples = folder / SAMPLES_FILE
    raw = read_samples(samples).raw if samples.is_file() else None
    if raw is None:
        return Check("example", "warning", "not run: the bundle keeps no raw samples")
    # A task in a `python:` entry isn't imported: a bundle is data, and runs no code.
    if task not in task_names():
        return Check("example", "warning", f"not run: there is no task {clipped(task)!r}")
    precision = precision_of(folder / MODEL)
    return run_example(folder, raw, task=outline(task), precision=precision, default=default)


def _cpu(model: Path) -> Check:
    """Check that matmuls are exact on this CPU, and name the CPU that the model is made for."""
    here = this_cpu()
    target = metadata_of(model).get(TARGET_KEY)
    made = f"quantized for {target}; " if target else ""
    danger = can_saturate(model, here.target)
    if danger is not None:
        return Check("CPU", "warning", f"{made}this CPU is {here}: {danger}")
    return Check("CPU", "ok", f"{made}this CPU is {here}, where no product can saturate")
