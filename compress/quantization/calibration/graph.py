"""The float model, opened so that it returns activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from compress.errors import StageError, unknown
from compress.measurement.session import run, unoptimized_session
from compress.onnx_graph.files import load_graph

if TYPE_CHECKING:
    import onnxruntime

    from compress.quantization.calibration.samples import Array, Sample

_FLOAT_BYTES = 4


class ObservedModel:
    """A float model whose activations can be read.

    Parameters
    ----------
    source : the ONNX file.
    tensors : names of float activations and of float graph inputs.

    Attributes
    ----------
    inputs : names of the model's inputs.

    Raises
    ------
    StageError : the graph has no tensor of a name.
    """

    def __init__(self, source: Path, tensors: Sequence[str]) -> None:
        self._source = source
        graph = load_graph(source)
        self.inputs = tuple(graph.inputs)
        known = set(graph.names)
        for name in tensors:
            if name not in known:
                raise StageError(unknown("tensor", name, known))

    def sizes(self, tensors: Sequence[str], sample: Sample) -> dict[str, int]:
        """Number of bytes of each tensor for one sample, found without holding the tensors."""
        computed = self._computed(tensors)
        shapes = {name: f"shape of {name}" for name in computed}
        graph = load_graph(self._source)
        asked = [onnx.helper.make_node("Shape", [name], [shape]) for name, shape in shapes.items()]
        graph.set_nodes([*graph.nodes, *asked])
        model = graph.ending_in(shapes.values())
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
        model = load_graph(self._source).ending_in(computed)
        return Opened(unoptimized_session(model, path=self._source), tensors)

    def _computed(self, tensors: Sequence[str]) -> list[str]:
        return [name for name in tensors if name not in self.inputs]


class Opened:
    """A session, if one is needed, and the names of the activations to return."""

    def __init__(
        self, session: onnxruntime.InferenceSession | None, tensors: Sequence[str]
    ) -> None:
        self._session = session
        self._tensors = tensors

    def activations(self, sample: Sample) -> Mapping[str, Array]:
        """The tensors' values by name, for one sample.

        Raises
        ------
        StageError : ONNX Runtime rejects the sample or fails.
        """
        found = run(self._session, sample) if self._session else {}
        return {name: found[name] if name in found else sample[name] for name in self._tensors}
