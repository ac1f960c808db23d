"""Text generation with a key-value cache: one graph for the prompt and for every token after it.

Names are those of Optimum and Transformers.js: `past_key_values.N.key` and `.value` (batch, heads,
past, width) go in, `present.N.key` and `.value` (batch, heads, past + sequence, width) come out.
With a past of length 0 the graph reads a prompt; fed with its own `present` it goes on from there.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from compress.core.batch import ATTENTION_MASK
from compress.exporting.signature import BATCH, SEQUENCE, Axes, ExportSignature

if TYPE_CHECKING:
    from compress.core.context import Task

POSITIONS = "position_ids"
PAST, TOTAL = "past_sequence_length", "total_length"
_WHOLE = f"{PAST} + {SEQUENCE}"
AXIS_NAMES = {TOTAL: _WHOLE, f"{SEQUENCE} + {PAST}": _WHOLE}
"""Names of axes in the file for torch's names, which can't hold operators."""
_TRACED_TOKENS = 8
_PARTS = ("key", "value")


class _WithCache(nn.Module):
    """The module as a function from tokens and cache to scores and the next cache."""

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.module = module
        self._names = names

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        from transformers import DynamicCache

        given = dict(zip(self._names, tensors, strict=False))
        past = tensors[len(self._names) :]
        cache = DynamicCache(list(zip(past[::2], past[1::2], strict=True)))
        answer = self.module(**given, past_key_values=cache, use_cache=True)
        return (answer.logits, *_tensors(answer.past_key_values))


def cached_signature(
    module: nn.Module, *, task: Task, inputs: Mapping[str, Tensor]
) -> ExportSignature | None:
    """Return the signature of a transformers model that generates text with a key-value cache.

    It is None for every other module. If the module takes positions, they are an input, as in
    Optimum, so that texts can be padded on the left.

    Parameters
    ----------
    inputs : the inputs of a batch of two samples or more.
    """
    if task.target != "next-token" or ATTENTION_MASK not in inputs:
        return None
    short = {name: x[:, :_TRACED_TOKENS] for name, x in inputs.items()}
    cache = _cache_of(module, short)
    if cache is None:
        return None
    count, length = short[ATTENTION_MASK].shape
    past = next(size for size in range(2, 5) if size not in (count, length))
    given = {**short, ATTENTION_MASK: torch.ones(count, past + length, dtype=torch.int64)}
    if takes_positions(module):
        given[POSITIONS] = torch.arange(past, past + length).repeat(count, 1)
    axes: list[Axes] = [
        {0: BATCH, 1: TOTAL if name == ATTENTION_MASK else SEQUENCE} for name in given
    ]
    traced = _WithCache(module, tuple(given)).eval()
    for name, (heads, width) in cache.items():
        given[f"past_key_values.{name}"] = torch.zeros(count, heads, past, width)
        axes.append({0: BATCH, 2: PAST})
    outputs = (*task.output_names, *(f"present.{name}" for name in cache))
    return ExportSignature(traced, given, tuple(axes), outputs)


def takes_positions(module: nn.Module) -> bool:
    """Return whether it is a transformers model that accepts its tokens' positions."""
    from transformers import PreTrainedModel

    named = POSITIONS in inspect.signature(module.forward).parameters
    return named and isinstance(module, PreTrainedModel)


def positions(attention_mask: Tensor) -> Tensor:
    """Return each token's position among the unmasked ones (N, S); 0 for padding before them."""
    return (attention_mask.cumsum(-1) - 1).clamp(min=0)


def _cache_of(module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, tuple[int, int]] | None:
    """Return the heads and the width of each tensor in a module's cache; heads may differ."""
    from transformers import PreTrainedModel
    from transformers.cache_utils import DynamicCache, DynamicLayer

    parameters = inspect.signature(module.forward).parameters
    if not isinstance(module, PreTrainedModel) or "past_key_values" not in parameters:
        return None
    with torch.no_grad():
        answer = module(**inputs, use_cache=True)
    cache: Any = getattr(answer, "past_key_values", None)
    if not isinstance(cache, DynamicCache):
        return None
    if not all(isinstance(layer, DynamicLayer) and layer.is_initialized for layer in cache.layers):
        return None
    sizes = [(tensor.shape[1], tensor.shape[3]) for tensor in _tensors(cache)]
    names = [f"{layer}.{part}" for layer in range(len(cache.layers)) for part in _PARTS]
    return dict(zip(names, sizes, strict=True))


def _tensors(cache: Any) -> list[Tensor]:
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
