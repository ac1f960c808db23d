"""An ONNX graph as a torch module."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from compress.errors import StageError
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import constant_value
from compress.quantization.onnx_torch.generation import supplied
from compress.quantization.onnx_torch.plan import PlanStep, make_plan
from compress.quantization.onnx_torch.table import OPERATORS
from compress.tasks.outputs import compared

# By operator, the numbers of dimensions of the float initialisers that are learned; others (masks,
# frequencies, limits) are constants.
_LEARNED = {
    "Add": (1,),
    "BatchNormalization": (1,),
    "Conv": (1, 3, 4, 5),
    "ConvTranspose": (1, 3, 4, 5),
    "Gather": (2,),
    "Gemm": (1, 2),
    "LayerNormalization": (1,),
    "MatMul": (2,),
    "Mul": (1,),
}


class GraphModule(nn.Module):
    """Runs a graph node by node, with the graph's initialisers as parameters and buffers.

    Weights of matmuls, convolutions and tables, biases and per-channel factors are parameters;
    everything else is a buffer. The graph is an inference graph: nothing changes in train mode.

    Parameters
    ----------
    graph : the graph, with its weights loaded.
    trained : names of the float initialisers that become parameters; None for the ones above.

    Raises
    ------
    StageError : an operator isn't known, or the opset is older than 13.
    """

    def __init__(self, graph: Graph, *, trained: Collection[str] | None = None) -> None:
        super().__init__()
        self.steps = make_plan(graph)
        self.tensors = nn.Module()
        self.keys: dict[str, str] = {}
        learned = set(learned_names(graph) if trained is None else trained)
        for name, array in _constants(graph):
            self._hold(name, array, trained=name in learned)
        shapes = {
            name: tuple(extent.dim_value for extent in value.type.tensor_type.shape.dim)
            for name, value in graph.inputs.items()
        }
        self.inputs, self._shapes = tuple(shapes), shapes
        self.outputs = tuple(graph.outputs)

    def _hold(self, name: str, array: np.ndarray, *, trained: bool) -> None:
        # torch allows no dots in names.
        key = self.keys[name] = f"{len(self.keys)}:{name.replace('.', '/')}"
        tensor = torch.from_numpy(array.copy())
        if trained:
            self.tensors.register_parameter(key, nn.Parameter(tensor))
        else:
            self.tensors.register_buffer(key, tensor)

    def tensor(self, name: str) -> Tensor:
        """The parameter or buffer that holds an initialiser."""
        found: Tensor = getattr(self.tensors, self.keys[name])
        return found

    def forward(self, *inputs: Tensor) -> Tensor | dict[str, Tensor]:
        """The graph's output, or several by their names: those that `compared` names.

        Parameters
        ----------
        inputs : the graph's inputs, in its order; a cache of keys and values, and the
            positions of tokens, can be left out at the end.
        """
        names = compared(self.outputs)
        found = self.values(inputs, names)
        return found if len(found) > 1 else found[names[0]]

    def values(self, inputs: Sequence[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
        """The values of these names; the graph runs only as far as needed.

        Parameters
        ----------
        inputs : see `forward`.
        names : names of outputs, or of any values in between.

        Raises
        ------
        StageError : the number of inputs is wrong, or a value doesn't exist.
        """
        known = self._known(inputs)
        found = {name: known[name] for name in names if name in known}
        missing = {name for name in names if name not in found}
        for step in self.steps:
            if not missing:
                break
            self._run(step, known)
            for name in missing.intersection(step.outputs):
                found[name] = known[name]
            missing.difference_update(step.outputs)
            for name in step.forget:
                known.pop(name, None)
        if missing:
            raise StageError(f"the graph has no value {sorted(missing)[0]!r}.")
        return {name: found[name] for name in names}

    def _known(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """The inputs by name; caches and positions are supplied if they are left out."""
        known = dict(zip(self.inputs, inputs, strict=False))
        for name in self.inputs[len(inputs) :]:
            tensor = supplied(name, self._shapes[name], known)
            if tensor is not None:
                known[name] = tensor
        if len(known) != len(self.inputs) or len(inputs) > len(self.inputs):
            raise StageError(f"the graph takes {', '.join(self.inputs)}. Got {len(inputs)} inputs.")
        return known

    def _run(self, step: PlanStep, known: dict[str, Tensor]) -> None:
        arguments = [
            None if not name else known[name] if name in known else self.tensor(name)
            for name in step.inputs
        ]
        result = OPERATORS[step.kind](arguments, step.attributes)
        made = (result,) if isinstance(result, Tensor) else result
        known.update((name, value) for name, value in zip(step.outputs, made, strict=False) if name)

    def extra_repr(self) -> str:
        """The number of nodes, and the inputs."""
        return f"{len(self.steps)} nodes, inputs {', '.join(self.inputs)}"


def _constants(graph: Graph) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of initialisers and `Constant` nodes."""
    for name, tensor in graph.initializers.items():
        yield name, numpy_helper.to_array(tensor)
    for node in graph.nodes:
        if node.op_type == "Constant":
            value = constant_value(node)
            if value is None:
                given = node.attribute[0].name
                raise StageError(f"a Constant by {given!r} can't be run as a torch module.")
            yield node.output[0], value


def learned_names(graph: Graph) -> list[str]:
    """Names of the float initialisers that serve as weights, biases and factors of a graph."""
    shapes = {
        name: tuple(tensor.dims)
        for name, tensor in graph.initializers.items()
        if tensor.data_type == TensorProto.FLOAT
    }
    return list(
        dict.fromkeys(
            name
            for node in graph.nodes
            for name in node.input
            if name in shapes
            and len(shapes[name]) in _LEARNED.get(node.op_type, ())
            and shapes[name] not in ((), (1,))
        )
    )
