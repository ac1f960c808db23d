"""Modules on torch's meta device: they have a structure but take no memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from compress.errors import ModelError

_DRAWS = (torch.Tensor.normal_, torch.Tensor.uniform_)
_BYTES = 4
"""Bytes of a parameter: all work here is done in float32."""
_FALLBACK = 2**40


@contextmanager
def without_weights() -> Iterator[None]:
    """Make modules on the meta device inside the context."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _NothingDrawn():
        yield


def require_room(make: Callable[[], nn.Module], *, name: str) -> None:
    """Refuse a model that doesn't fit into this machine's memory, before any of it is filled.

    Parameters
    ----------
    make : makes the module.
    name : name of the model, for the message.

    Raises
    ------
    ModelError : the parameters take more memory than there is.
    """
    with without_weights():
        count = sum(parameter.numel() for parameter in make().parameters())
    room = _memory()
    if count * _BYTES > room:
        raise ModelError(
            f"{name} has {count:,} parameters: {count * _BYTES / 2**30:,.0f} GiB in float32, and "
            f"this machine's memory is {room / 2**30:,.0f} GiB."
        )


def _memory() -> int:
    """Bytes of this machine's memory."""
    if not hasattr(os, "sysconf"):
        return _FALLBACK
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class _NothingDrawn(TorchFunctionMode):
    """Skips random initialisation on the meta device: torch would import its compiler for it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in _DRAWS else func(*args, **(kwargs or {}))
