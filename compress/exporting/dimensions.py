"""Cuts the embeddings of an exported file to their first dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.errors import StageError, expected
from compress.onnx_graph.ends import put_after
from compress.onnx_graph.files import check_file, load_model, save_model
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.types import declared_type
from compress.tasks.outputs import HIDDEN, SENTENCE_EMBEDDING

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto


def keep_dimensions(path: Path, dimensions: int, *, normalize: bool) -> str:
    """Let a file answer with the first dimensions alone; return a note.

    A text's embedding is made of its tokens' dimension by dimension, so both outputs are cut, and
    whoever pools the hidden states gets the same vectors.

    Parameters
    ----------
    path : a file with `last_hidden_state`, `sentence_embedding` or both; it is written anew.
    dimensions : number of dimensions that stay.
    normalize : whether embeddings that the graph makes get length 1 again.

    Raises
    ------
    StageError : the file's embeddings aren't wider, or it has none.
    """
    model = load_model(path)
    ends = [each for each in model.graph.output if each.name in (HIDDEN, SENTENCE_EMBEDDING)]
    if not ends:
        names = ", ".join(each.name for each in model.graph.output)
        raise StageError(f"'dimensions' needs an output with embeddings. Got {names}.")
    width = _width(ends[0])
    if width is not None and dimensions >= width:
        allowed = f"fewer than the embeddings' {width}"
        raise StageError(expected("dimensions", allowed, dimensions))
    for each in ends:
        _cut(model, each, dimensions, normalize=normalize and each.name == SENTENCE_EMBEDDING)
    save_model(model, path)
    check_file(path)
    words = "" if width is None else f" of {width}"
    return f"embeddings are the first {dimensions}{words} dimensions"


def _width(end: ValueInfoProto) -> int | None:
    shape = declared_type(end).shape
    last = None if not shape else shape[-1]
    return last if isinstance(last, int) else None


def _cut(model: ModelProto, end: ValueInfoProto, dimensions: int, *, normalize: bool) -> None:
    name = end.name
    graph, bounds = Graph(model), {"starts": 0, "ends": dimensions, "axes": -1}
    added = [
        graph.add_initializer(f"{name}.{part}", np.array([value], np.int64))
        for part, value in bounds.items()
    ]
    nodes = [("Slice", added)]
    put_after(model, name, [*nodes, ("LpNormalization", [])] if normalize else nodes)
    dims = end.type.tensor_type.shape.dim
    if dims:
        dims[-1].Clear()
        dims[-1].dim_value = dimensions
