"""Bytes of a model on disk."""

from pathlib import Path

from compress.core.files.confined import inside
from compress.errors import LoadError
from compress.measurement.graph import load_graph, tensors


def size_bytes(onnx: Path) -> int:
    """Bytes of an ONNX file and of every external-data file that it refers to.

    Raises
    ------
    InputError : it refers to a file that doesn't lie in its folder.
    LoadError : the file can't be read, or refers to a file that isn't there.
    """
    total = 0
    for file in [onnx, *external_files(onnx)]:
        if not file.is_file():
            raise LoadError(f"{onnx} keeps weights in {file}, which doesn't exist.")
        total += file.stat().st_size
    return total


def external_files(onnx: Path) -> list[Path]:
    """The external-data files of an ONNX file, each once, sorted; they lie in its folder.

    Raises
    ------
    InputError : it names a file elsewhere.
    LoadError : the file can't be read.
    """
    from onnx import TensorProto

    locations = {
        entry.value
        for tensor in tensors(load_graph(onnx).graph)
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return [inside(onnx.parent, location) for location in sorted(locations)]
