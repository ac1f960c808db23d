"""Follows tensors through a run of a module: which depend on the sample, which the answer needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

_BY_SIZE = (torch.ops.aten.expand, torch.ops.aten.repeat)
"""Operators that may copy weights once for each sample: the copies count as varying."""


class Flow:
    """Operators in the order of their run, each with a number.

    Tensors are told apart by their storage. A view is the same as the tensor it was taken from, and
    an operator that writes into a tensor makes all its views.

    Attributes
    ----------
    varies : for each operator, whether a sample can change its result. Weights, and results
        computed from them alone, never change; sizes may.
    """

    def __init__(self, module: nn.Module, inputs: Iterable[Tensor]) -> None:
        self.varies: list[bool] = []
        self._parents: list[frozenset[int]] = []
        self._latest: dict[int, int] = {}
        # While these references exist, no other storage gets the same address. They hold no memory.
        self._seen: dict[int, StorageWeakRef] = {}
        self._tables = {
            key: buffer.numel()
            for buffer in module.buffers()
            if (key := self._key(buffer)) is not None
        }
        given = self._add(frozenset(), varies=True)
        self._latest.update({key: given for x in inputs if (key := self._key(x)) is not None})

    def ran(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: object) -> int:
        """Record an operator that ran; return its number."""
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        keys = {self._key(tensor) for tensor in read}
        parents = frozenset(self._latest[key] for key in keys if key in self._latest)
        varies = any(self.varies[parent] for parent in parents)
        # The part of a table that is read depends on a sample's length, and the result of an
        # operator without inputs on sizes.
        varies = varies or not read or any(self._is_part(tensor) for tensor in read)
        copied = func._overloadpacket in _BY_SIZE
        varies = varies or copied
        number = self._add(parents, varies=varies)
        written = {self._key(x) for x in tree_leaves(out) if isinstance(x, Tensor)} - keys
        written |= {self._key(x) for x in tree_leaves(_mutated(func, args, kwargs))}
        written |= keys if copied else set()
        self._latest.update({key: number for key in written if key is not None})
        return number

    def needed(self, answers: Iterable[Tensor]) -> set[int]:
        """Numbers of the operators that computed these tensors."""
        ahead = [self._latest[key] for x in answers if (key := self._key(x)) in self._latest]
        found: set[int] = set()
        while ahead:
            number = ahead.pop()
            if number not in found:
                found.add(number)
                ahead += self._parents[number]
        return found

    def _add(self, parents: frozenset[int], *, varies: bool) -> int:
        self._parents.append(parents)
        self.varies.append(varies)
        return len(self.varies) - 1

    def _is_part(self, tensor: Tensor) -> bool:
        key = self._key(tensor)
        return key in self._tables and tensor.numel() < self._tables[key]

    def _key(self, tensor: Tensor) -> int | None:
        """A key for a tensor's storage; None if it has no storage of its own."""
        if tensor.layout is not torch.strided:
            return None
        reference = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
        key: int = reference.cdata
        return key if self._seen.setdefault(key, reference) is not None else None


def _mutated(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments that an operator writes into."""
    schema = func._schema
    if not schema.is_mutable:
        return []
    written = [
        each.alias_info is not None and each.alias_info.is_write for each in schema.arguments
    ]
    named = {each.name: write for each, write in zip(schema.arguments, written, strict=True)}
    return [
        *(value for value, write in zip(args, written, strict=False) if write),
        *(value for name, value in kwargs.items() if named.get(name)),
    ]
