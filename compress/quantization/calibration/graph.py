"""The float model's graph, opened so that it returns activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from compress.errors import StageError, unknown
from compress.measurement.graph import graphs
from compress.measurement.session import run, unoptimized_session

if TYPE_CHECKING:
    import onnxruntime

    from compress.quantization.calibration.samples import Array, Sample

_FLOAT_BYTES = 4


class Graph:
    """A float model whose activations are wanted.

    Parameters
    ----------
    source : the ONNX file.
    tensors : names of float activations and of float graph inputs.

    Attributes
    ----------
    inputs : names of the model's inputs.

    Raises
    ------
    StageError : a name that the graph doesn't have.
    """

    def __init__(self, source: Path, tensors: Sequence[str]) -> None:
        self._source = source
        graph = _load(source).graph
        constants = {tensor.name for tensor in graph.initializer}
        self.inputs = tuple(value.name for value in graph.input if value.name not in constants)
        known = {*self.inputs, *(name for node in graph.node for name in node.output)}
        for name in tensors:
            if name not in known:
                raise StageError(unknown("tensor", name, known))

    def sizes(self, tensors: Sequence[str], sample: Sample) -> dict[str, int]:
        """Bytes of each tensor for one sample, found without holding the tensors."""
        computed = self._computed(tensors)
        model = _reduced(_load(self._source), computed)
        shapes = {name: f"shape of {name}" for name in computed}
        model.graph.ClearField("output")
        for name, shape in shapes.items():
            model.graph.node.append(onnx.helper.make_node("Shape", [name], [shape]))
            model.graph.output.append(_output(shape, onnx.TensorProto.INT64))
        found = run(unoptimized_session(model, path=self._source), sample) if computed else {}
        return {
            name: _FLOAT_BYTES * int(np.prod(found[shapes[name]])) if name in shapes else 0
            for name in tensors
        }

    def open(self, tensors: Sequence[str]) -> Opened:
        """A session that returns these tensors and computes no more than they need."""
        computed = self._computed(tensors)
        if not computed:
            return Opened(None, tensors)
        model = _reduced(_load(self._source), computed)
        return Opened(unoptimized_session(model, path=self._source), tensors)

    def _computed(self, tensors: Sequence[str]) -> list[str]:
        return [name for name in tensors if name not in self.inputs]


class Opened:
    """A session, if one is needed, and the tensors that it returns with those that are inputs."""

    def __init__(
        self, session: onnxruntime.InferenceSession | None, tensors: Sequence[str]
    ) -> None:
        self._session = session
        self._tensors = tensors

    def activations(self, sample: Sample) -> Mapping[str, Array]:
        """The tensors' values by name, for one sample.

        Raises
        ------
        StageError : ONNX Runtime refuses the sample or fails.
        """
        found = run(self._session, sample) if self._session else {}
        return {name: found[name] if name in found else sample[name] for name in self._tensors}


def _load(source: Path) -> onnx.ModelProto:
    return onnx.load(str(source), load_external_data=False)


def _reduced(model: onnx.ModelProto, wanted: Sequence[str]) -> onnx.ModelProto:
    """The model with only these outputs, and only the nodes and weights that they need."""
    graph = model.graph
    given = {value.name: value for value in graph.output}
    outputs = [given.get(name) or _output(name, onnx.TensorProto.FLOAT) for name in wanted]
    # Where nodes hold graphs, these may read any tensor from inside.
    if len(list(graphs(graph))) == 1:
        needed = set(wanted)
        for place in reversed(range(len(graph.node))):
            if needed.intersection(graph.node[place].output):
                needed.update(graph.node[place].input)
            else:
                del graph.node[place]
        for place in reversed(range(len(graph.initializer))):
            if graph.initializer[place].name not in needed:
                del graph.initializer[place]
    model.graph.ClearField("output")
    model.graph.output.extend(outputs)
    return model


def _output(name: str, kind: int) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, kind, None)
