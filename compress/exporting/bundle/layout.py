"""File names that Transformers.js looks for: `onnx/model.onnx`, `onnx/model_quantized.onnx` …"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from onnx import TensorProto

from compress.onnx_graph.files import external_files, load_graph
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attribute

FOLDER = "onnx"
_QUANTIZED = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "QLinearConv",
        "QLinearMatMul",
    }
)


def lay_out(model: Path) -> Path:
    """Give a bundle's model the path that Transformers.js expects; return that path.

    The file isn't stored twice: it is a hard link, or a copy if the file system has no hard links.

    Parameters
    ----------
    model : the bundle's model.onnx; `onnx/` is made beside it.
    """
    folder = model.parent / FOLDER
    folder.mkdir(exist_ok=True)
    target = folder / f"model{suffix(model)}.onnx"
    link(model, target)
    for file in external_files(model):
        link(file, folder / file.name)
    return target


def link(source: Path, target: Path) -> None:
    """Replace `target` by a hard link to a file, or by a copy if links can't be made."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def suffix(model: Path) -> str:
    """Return the suffix that Transformers.js appends to a file's name for its precision.

    Returns
    -------
    "_q4" for 4-bit weights, "_quantized" for 8 bits, "_fp16" for half precision, "" for fp32.
    """
    graph = load_graph(model)
    operators = {node.op_type for node in graph.nodes}
    if "MatMulNBits" in operators:
        return "_q4" if 4 in _bits(graph) else "_quantized"
    if operators & _QUANTIZED:
        return "_quantized"
    halves = TensorProto.FLOAT16 in {tensor.data_type for tensor in graph.initializers.values()}
    return "_fp16" if halves else ""


def _bits(graph: Graph) -> set[int]:
    return {attribute(node, "bits", 0) for node in graph.nodes if node.op_type == "MatMulNBits"}
