"""Measures a model's size on disk."""

from pathlib import Path

from compress.errors import LoadError
from compress.onnx_graph.files import external_files


def size_bytes(onnx: Path) -> int:
    """Bytes of an ONNX file and of every external-data file that it refers to.

    Raises
    ------
    InputError : the ONNX file refers to a file outside of its folder.
    LoadError : the ONNX file can't be read, or refers to a file that doesn't exist.
    """
    total = 0
    for file in [onnx, *external_files(onnx)]:
        if not file.is_file():
            raise LoadError(f"{onnx} keeps weights in {file}, which doesn't exist.")
        total += file.stat().st_size
    return total
