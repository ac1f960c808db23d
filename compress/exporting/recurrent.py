"""Recurrent layers as ONNX's own operators, for a batch and a sequence of any length.

torch.export keeps for the whole process how it takes a recurrent layer apart, and with that the
length of the sequence that it saw first. torchlib's translations fix the length where the sequence
is the first dimension, and there is none of `nn.RNN`. Here a layer names its operator itself, so
that nothing takes it apart.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx.ops import symbolic_multi_out

from compress.errors import StageError

_FORWARDS = (nn.LSTM.forward, nn.GRU.forward, nn.RNN.forward)
# The places of torch's gates in the order of ONNX: input, output, forget, cell of an LSTM; update,
# reset, hidden of a GRU.
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
States = Tensor | tuple[Tensor, ...]


def name_operators(module: nn.Module) -> None:
    """Let every recurrent layer of a module be exported as ONNX's LSTM, GRU or RNN.

    A layer with a `forward` of its own stays as it is. The others get buffers: for each of their
    layers the weights W (D, G * H, C) and R (D, G * H, H) and the biases B (D, 2 * G * H) of D
    directions, G gates and H states.

    Parameters
    ----------
    module : a module in eval mode. It is changed, and can only be exported from then on.

    Raises
    ------
    StageError : a layer projects its states, which ONNX's LSTM doesn't.
    """
    for path, part in module.named_modules():
        if not isinstance(part, nn.RNNBase):
            continue
        if part.proj_size:
            raise StageError(
                f"{type(part).__name__} {path!r} projects its states, which ONNX's LSTM doesn't: "
                f"'proj_size' must be 0. Got {part.proj_size}."
            )
        if type(part).forward in _FORWARDS:
            for layer in range(part.num_layers):
                for name, value in _weights(part, layer).items():
                    part.register_buffer(f"{name}_l{layer}", value)
            part.forward = partial(_forward, part)


def _weights(part: nn.RNNBase, layer: int) -> dict[str, Tensor]:
    """The weights of one layer by the names of the operator's inputs."""
    ends = ("", "_reverse") if part.bidirectional else ("",)

    def stacked(*kinds: str) -> Tensor:
        rows = [
            torch.cat([_ordered(getattr(part, f"{kind}_l{layer}{end}"), part) for kind in kinds])
            for end in ends
        ]
        return torch.stack(rows)

    made = {"W": stacked("weight_ih"), "R": stacked("weight_hh")}
    return made | ({"B": stacked("bias_ih", "bias_hh")} if part.bias else {})


def _ordered(weight: Tensor, part: nn.RNNBase) -> Tensor:
    """A weight or bias (G * H, …) with its gates in the order of ONNX."""
    gates = _GATES.get(part.mode)
    if gates is None:
        return weight.detach()
    split = weight.detach().chunk(len(gates))
    return torch.cat([split[gate] for gate in gates])


def _forward(
    part: nn.RNNBase, given: Tensor, states: States | None = None
) -> tuple[Tensor, States]:
    """The layer's own answer: the states of the last layer at each step, and the last states."""
    if not isinstance(given, Tensor):
        raise StageError(
            f"a {type(part).__name__} reads a packed sequence, which ONNX hasn't. Let it read the "
            "padded one, and leave padding out of what follows by the attention mask."
        )
    batched = given.ndim == 3
    sequence = given if batched else given.unsqueeze(1)
    if batched and part.batch_first:
        sequence = sequence.transpose(0, 1)
    first = () if states is None else states if isinstance(states, tuple) else (states,)
    if not batched:
        first = tuple(state.unsqueeze(1) for state in first)
    last: list[tuple[Tensor, ...]] = []
    for layer in range(part.num_layers):
        sequence, *ends = _layer(part, layer, sequence, first)
        last.append(tuple(ends))
    ended = tuple(torch.cat(each) for each in zip(*last, strict=True))
    if not batched:
        sequence, ended = sequence.squeeze(1), tuple(state.squeeze(1) for state in ended)
    elif part.batch_first:
        sequence = sequence.transpose(0, 1)
    return sequence, ended if part.mode == "LSTM" else ended[0]


def _layer(
    part: nn.RNNBase, layer: int, sequence: Tensor, first: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """One layer, over a sequence (L, N, C): its states (L, N, D * H), and the last (D, N, H)."""
    directions, width = 2 if part.bidirectional else 1, part.hidden_size
    kind = part.mode.partition("_")[0]
    own = [state[layer * directions : (layer + 1) * directions] for state in first]
    weights = [getattr(part, f"{name}_l{layer}", None) for name in "WRB"]
    length, count = sequence.shape[:2]
    attributes: dict[str, Any] = {
        "hidden_size": width,
        "direction": "bidirectional" if part.bidirectional else "forward",
    }
    if kind == "GRU":
        attributes["linear_before_reset"] = 1
    if part.mode == "RNN_RELU":
        attributes["activations"] = ["Relu"] * directions
    states = [(directions, count, width)] * (2 if kind == "LSTM" else 1)
    made, *last = symbolic_multi_out(
        kind,
        [sequence, *weights, None, *own],
        attributes,
        dtypes=[sequence.dtype] * (1 + len(states)),
        shapes=[(length, directions, count, width), *states],
    )
    return made.transpose(1, 2).flatten(2), *last
