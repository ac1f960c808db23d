"""ONNX files, written atomically, with weights that are too large for one file beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto
from onnx.inliner import inline_local_functions

from compress.core.files.atomic import write_bytes
from compress.core.files.confined import inside
from compress.core.foreign.boundary import reading
from compress.errors import LoadError, StageError
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.inner import tensors

# A protobuf message can't be longer than 2 GiB; the graph itself needs some of that.
SINGLE_FILE_BYTES = 2**31 - 2**24


def load_model(path: Path, *, weights: bool = True) -> ModelProto:
    """Load a model as it is, to be changed and written again.

    Parameters
    ----------
    weights : read external data too; False leaves them on disk.

    Raises
    ------
    LoadError : it can't be read, or isn't an ONNX model.
    """
    with reading(f"the ONNX model {path}", error=LoadError):
        return onnx.load(str(path), load_external_data=weights)


def load_graph(path: Path) -> Graph:
    """Load a file's graph to be read: external data stay on disk, and local functions are inlined.

    Raises
    ------
    LoadError : it can't be read, isn't an ONNX model, or has no nodes.
    """
    model = load_model(path, weights=False)
    with reading(f"the ONNX model {path}", error=LoadError):
        if not model.graph.node:
            raise LoadError(f"can't read the ONNX model {path}: its graph has no nodes.")
        return Graph(inline_local_functions(model) if model.functions else model)


def fits_one_file(model: ModelProto) -> bool:
    """Return whether a model with its weights in memory is small enough for one message."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer) < SINGLE_FILE_BYTES


def save_model(model: ModelProto, path: Path) -> None:
    """Write an ONNX file, and with weights of 2 GB or more `<path>.data`; both are replaced.

    The file is written under another name and then renamed, so that an interrupted write leaves no
    half file. The same model gives the same bytes. If `<path>.data` was written, the model in
    memory refers to it afterwards.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = _data_of(path)
    data.unlink(missing_ok=True)  # onnx would append to an old file
    if fits_one_file(model):
        write_bytes(path, model.SerializeToString(deterministic=True))
        return
    aside = path.with_name(path.name + ".tmp")
    onnx.save_model(model, aside, save_as_external_data=True, location=data.name)
    aside.replace(path)


def copy_model(source: Path, target: Path) -> None:
    """Copy a file, and its external data to `<target>.data`, so that each copy has its own.

    Raises
    ------
    InputError : the file names external data outside its folder.
    LoadError : it can't be read.
    OSError : its external data aren't there, or the copy can't be written.
    """
    if source.resolve() == target.resolve():
        return
    beside = external_files(source)
    if not beside:
        shutil.copyfile(source, target)
        return
    model = load_model(source, weights=False)
    data = _data_of(target)
    starts: dict[Path, int] = {}
    with data.open("wb") as written:
        for file in beside:
            starts[file] = written.tell()
            with file.open("rb") as read:
                shutil.copyfileobj(read, written)
    for tensor in tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            given = {entry.key: entry.value for entry in tensor.external_data}
            file = inside(source.parent, given["location"])
            offset = int(given.get("offset", 0))
            length = given.get("length", file.stat().st_size - offset)
            moved = {"location": data.name, "offset": starts[file] + offset, "length": length}
            del tensor.external_data[:]
            for key, value in (given | moved).items():
                tensor.external_data.add(key=key, value=str(value))
    write_bytes(target, model.SerializeToString(deterministic=True))


def remove_model(path: Path) -> None:
    """Delete a file that `save_model` or `copy_model` wrote, and its external data."""
    path.unlink(missing_ok=True)
    _data_of(path).unlink(missing_ok=True)


def external_files(path: Path) -> list[Path]:
    """The external-data files of an ONNX file, each once, sorted; they lie in its folder.

    Raises
    ------
    InputError : it names a file elsewhere.
    LoadError : the file can't be read.
    """
    locations = {
        entry.value
        for tensor in load_graph(path).tensors()
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return [inside(path.parent, location) for location in sorted(locations)]


def check_file(path: Path, *, types: bool = True) -> None:
    """Check a file by `onnx.checker`, external data included.

    Parameters
    ----------
    types : infer all types and shapes too, and require that they agree.

    Raises
    ------
    StageError : it isn't a valid model.
    """
    try:
        onnx.checker.check_model(str(path), full_check=types)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise StageError(f"{path.name} isn't a valid ONNX model: {reason}") from error


def _data_of(path: Path) -> Path:
    return path.with_name(path.name + ".data")
