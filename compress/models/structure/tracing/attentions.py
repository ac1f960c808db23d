"""Groups of the heads of torch's own attention modules."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from compress.models.structure.attention import FewerHeads
from compress.models.structure.groups import Attribute, Group, Slice, block_index
from compress.models.structure.tracing.tape import AttentionCall, Tape


def head_groups(tape: Tape) -> tuple[list[Group], dict[str, list[str]]]:
    """The heads of each `nn.MultiheadAttention` that ran; and the paths left alone, by reason.

    A unit is a head: its rows of queries, keys and values, packed or apart, and its columns of the
    layer that makes the output. The width of the model stays.
    """
    groups: list[Group] = []
    alone: dict[str, list[str]] = {}
    calls: dict[str, list[AttentionCall]] = {}
    for call in tape.attentions:
        calls.setdefault(call.path, []).append(call)
    for path, each in calls.items():
        reason = _reason(tape, each)
        if reason is None:
            groups.append(_heads(path, each[0].attention))
        else:
            alone.setdefault(reason, []).append(path)
    return groups, alone


def _reason(tape: Tape, calls: list[AttentionCall]) -> str | None:
    """Why the heads of an attention can't be cut; None if they can."""
    attention, path = calls[0].attention, calls[0].path
    if type(attention) not in (nn.MultiheadAttention, FewerHeads):
        return f"the forward of {type(attention).__name__} isn't that of nn.MultiheadAttention"
    if any(call.masked for call in calls):
        return "the model makes a mask for each of their heads"
    if any(call.weights in tape.operations for call in calls if call.weights is not None):
        return "the model reads the attention weights that they return"
    own = {id(tensor) for tensor in attention.parameters()}
    for other, part in tape.module.named_modules():
        inside = other == path or other.startswith(f"{path}.")
        if not inside and any(id(tensor) in own for tensor in part._parameters.values()):
            return f"they share weights with {other}"
    return None


def _heads(path: str, attention: nn.MultiheadAttention) -> Group:
    rows = block_index(attention.num_heads, attention.head_dim)
    return Group(
        path,
        "heads",
        attention.num_heads,
        tuple(
            Slice(f"{path}.{owner}".strip("."), tensor, dim, index)
            for owner, tensor, dim, index in _parts(attention, rows)
        ),
        (Attribute(path, "num_heads"),),
        (path,),
    )


def _parts(
    attention: nn.MultiheadAttention, rows: torch.Tensor
) -> Iterator[tuple[str, str, int, torch.Tensor]]:
    """Yield submodule, tensor, dimension and indices (heads, K) of all that heads have."""
    step = rows.numel()
    packed = torch.cat([rows, rows + step, rows + 2 * step], dim=1)
    indices = {
        "in_proj_weight": (0, packed),
        "q_proj_weight": (0, rows),
        "k_proj_weight": (0, rows),
        "v_proj_weight": (0, rows),
        "in_proj_bias": (0, packed),
        "bias_k": (2, rows),
        "bias_v": (2, rows),
    }
    for name, (dim, index) in indices.items():
        if getattr(attention, name) is not None:
            yield "", name, dim, index
    yield "out_proj", "weight", 1, rows
