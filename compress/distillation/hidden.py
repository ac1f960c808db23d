"""Splits a causal language model into its body and the head that computes logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compress.errors import StageError

LAST_HIDDEN = "last_hidden_state"
_TOLERANCE = 1e-4


def last_hidden(module: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the last hidden states of a transformers model for a batch, (N, S, H)."""
    hidden: Tensor = module.base_model(**inputs).last_hidden_state
    return hidden


def head_of(module: Any) -> nn.Module:
    """Return the layer that computes logits (N, S, V) from `last_hidden`."""
    head: nn.Module = module.get_output_embeddings()
    return head


def require_apart(module: nn.Module, inputs: Mapping[str, Tensor], *, logits: Tensor) -> None:
    """Check that a model's logits are its head's output for its last hidden states.

    Parameters
    ----------
    logits : (N, S, V), the whole model's output for the inputs, in eval mode.

    Raises
    ------
    StageError : the model has no such parts, or changes the logits after its head.
    """
    name = type(module).__name__
    if not hasattr(module, "base_model") or head_of(module) is None:
        raise StageError(f"'chunk_tokens' needs a transformers model with a head. Got {name}.")
    with torch.no_grad():
        again = head_of(module)(last_hidden(module, inputs))
    if not torch.allclose(again, logits, atol=_TOLERANCE * max(1.0, float(logits.abs().max()))):
        raise StageError(
            f"'chunk_tokens' must be null here: {name} changes its logits after the head."
        )
