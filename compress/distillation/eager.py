"""Eager attention, which returns attention weights; fused kernels (SDPA, flash) don't."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from compress.errors import StageError

EAGER = "eager"


def implementation(module: nn.Module) -> str | None:
    """Return a transformers model's attention implementation, such as "sdpa"; None for others."""
    found = getattr(getattr(module, "config", None), "_attn_implementation", None)
    return found if isinstance(found, str) else None


def eager_copy(module: nn.Module) -> nn.Module:
    """Return a copy that computes attention in plain steps, and so returns its weights.

    Raises
    ------
    StageError : the module isn't a transformers model.
    """
    if implementation(module) is None:
        raise StageError(
            "'attention.maps' needs a transformers model, whose attention can be switched to "
            f"eager. Got {type(module).__name__}."
        )
    copied = copy.deepcopy(module)
    use(copied, EAGER)
    return copied


def use(module: Any, name: str) -> None:
    """Switch a transformers model to an attention implementation, in place."""
    module.set_attn_implementation(name)
