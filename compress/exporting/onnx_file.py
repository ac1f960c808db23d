"""Gives an exported graph the module's names, and its metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from compress.onnx_graph.graph import Graph
from compress.onnx_graph.metadata import set_metadata

if TYPE_CHECKING:
    from torch import Tensor

# `export_module` exports a wrapper that holds the module under this name.
PREFIX = "module."


def name_weights(model: onnx.ModelProto, state: Mapping[str, Tensor]) -> None:
    """Name initialisers as the module names its parameters, and keep each tensor once.

    The exporter stores a Linear's weight transposed under a running number. Such weights are found
    by their contents and become `<parameter>.transposed`, of shape (in_features, out_features). The
    exporter stores a weight that several layers share once for each of them.
    """
    graph = Graph(model)
    taken = {*graph.names, *graph.outputs}
    by_digest = _digests(state)
    first: dict[str, str] = {}
    renamed: dict[str, str] = {}
    doubles = []
    for tensor in list(graph.initializers.values()):
        array = numpy_helper.to_array(tensor)
        digest = _digest(array) if array.ndim > 1 else tensor.name
        if digest in first:
            renamed[tensor.name] = first[digest]
            doubles.append(tensor)
            continue
        name = tensor.name.removeprefix(PREFIX)
        name = by_digest.get(digest, name)
        name = tensor.name if name in taken else name
        taken.add(name)
        renamed[tensor.name] = first[digest] = tensor.name = name
    graph.remove_initializers(doubles)
    graph.redirect(renamed)


def _digests(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return parameter names by digest; the first name for equal contents."""
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
    set_metadata(model, values)
