"""A PyTorch module as it generates text, for a model that has no ONNX form."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from compress.core.batch import ATTENTION_MASK
from compress.measurement.session import TOKENS

if TYPE_CHECKING:
    from torch import nn

    from compress.core.context import Task

_CACHE = "past_key_values"


class ModuleDecoder:
    """A module in PyTorch, with the cache that transformers gives it.

    Parameters
    ----------
    task : runs a module that keeps no cache.
    """

    def __init__(self, module: nn.Module, *, task: Task) -> None:
        self._module, self._task = module, task
        self._cached = {_CACHE, "use_cache"} <= inspect.signature(module.forward).parameters.keys()
        self.begin()

    @property
    def has_cache(self) -> bool:
        """True if the module takes and gives keys and values of what was read."""
        return self._cached

    def begin(self) -> None:
        """Forget the text."""
        self._past: Any = None
        self._read: list[int] = []

    def read(self, tokens: Sequence[int]) -> int:
        """Read tokens that follow those before; return the likeliest next one."""
        self._read += tokens
        unread = tokens if self._cached else self._read
        given = {
            TOKENS: torch.tensor([unread]),
            ATTENTION_MASK: torch.ones(1, len(self._read), dtype=torch.int64),
        }
        with torch.no_grad():
            if not self._cached:
                return int(self._task.logits(self._module, given)[0, -1].argmax())
            answer = self._module(**given, past_key_values=self._past, use_cache=True)
            self._past = answer.past_key_values
            return int(answer.logits[0, -1].argmax())
