"""Writes ONNX files that are clean, named and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from compress.errors import StageError

if TYPE_CHECKING:
    from torch import Tensor

# `lower` exports a wrapper that holds the module under this name.
PREFIX = "module."


def strip_traces(model: onnx.ModelProto) -> None:
    """Remove what torch notes on each node: stack traces with the machine's paths, class names."""
    model.doc_string = ""
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        for node in function.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for graph in (model.graph, *_subgraphs(model.graph)):
        graph.doc_string = ""
        del graph.metadata_props[:]
        values = (graph.input, graph.output, graph.value_info, graph.node, graph.initializer)
        for items in values:
            for item in items:
                item.doc_string = ""
                del item.metadata_props[:]


def _subgraphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    inner = [
        subgraph
        for node in graph.node
        for attribute in node.attribute
        for subgraph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else []))
    ]
    return inner + [deeper for subgraph in inner for deeper in _subgraphs(subgraph)]


def rename_axes(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Give dynamic axes other names, wherever a shape is noted."""
    for graph in (model.graph, *_subgraphs(model.graph)):
        for value in (*graph.input, *graph.output, *graph.value_info):
            for axis in value.type.tensor_type.shape.dim:
                if axis.dim_param in names:
                    axis.dim_param = names[axis.dim_param]


def name_weights(model: onnx.ModelProto, state: Mapping[str, Tensor]) -> None:
    """Name initialisers as the module names its parameters, and keep each tensor once.

    The exporter stores a Linear's weight transposed under a running number; those are found by
    their contents and become `<parameter>.transposed`, of shape (in_features, out_features). A
    weight that several layers share is stored by the exporter once for each of them.
    """
    taken = {value.name for value in (*model.graph.input, *model.graph.output)}
    taken |= {name for node in model.graph.node for name in node.output}
    by_digest = _digests(state)
    first: dict[str, str] = {}
    renamed: dict[str, str] = {}
    doubles = []
    for place, tensor in enumerate(model.graph.initializer):
        array = numpy_helper.to_array(tensor)
        digest = _digest(array) if array.ndim > 1 else tensor.name
        if digest in first:
            renamed[tensor.name] = first[digest]
            doubles.append(place)
            continue
        name = tensor.name.removeprefix(PREFIX)
        name = by_digest.get(digest, name)
        name = tensor.name if name in taken else name
        taken.add(name)
        renamed[tensor.name] = first[digest] = tensor.name = name
    for place in reversed(doubles):  # in place: a copy would be serialized, which 2 GB can't be
        del model.graph.initializer[place]
    _rename(model.graph, renamed)


def _rename(graph: onnx.GraphProto, renamed: Mapping[str, str]) -> None:
    for part in (graph, *_subgraphs(graph)):
        for node in part.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
        kept = [value for value in part.value_info if value.name not in renamed]
        del part.value_info[:]
        part.value_info.extend(kept)


def _digests(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Parameter names by contents; for two of the same contents, the first."""
    found: dict[str, str] = {}
    for name, tensor in state.items():
        if tensor.ndim > 1:
            array = tensor.detach().numpy()
            found.setdefault(_digest(array), name)
            if array.ndim == 2:
                found.setdefault(_digest(array.T), f"{name}.transposed")
    return found


def _digest(array: np.ndarray) -> str:
    digest = hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16)
    digest.update(f"{array.shape}{array.dtype}".encode())
    return digest.hexdigest()


def add_metadata(
    model: onnx.ModelProto, entries: Mapping[str, str], *, labels: Sequence[str]
) -> None:
    """Set the model's metadata: the entries, and `labels` as a JSON list."""
    values = {**entries, "labels": json.dumps(list(labels), ensure_ascii=False)}
    onnx.helper.set_model_props(model, values)


def check_file(path: Path) -> None:
    """Let `onnx.checker` read the file, external data included.

    Raises
    ------
    StageError : it isn't a valid model.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise StageError(f"{path.name} isn't a valid ONNX model: {reason}") from error


def opset_of(path: Path) -> int:
    """The version of the standard operators that a file uses."""
    model = onnx.load(str(path), load_external_data=False)
    return next(int(entry.version) for entry in model.opset_import if not entry.domain)
