"""Removes units of a module for the time of a context, without copying the module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from compress.models.structure.cut import zero
from compress.models.structure.groups import Group


@contextmanager
def without(module: nn.Module, group: Group, units: Tensor) -> Iterator[None]:
    """Within the context, the module answers like a copy masked without the units.

    See `compress.models.structure.cut.mask`. Weights are changed in place, and restored to the bit
    afterwards.

    Parameters
    ----------
    units : (R,) int64 pruned units of the group.
    """
    parts = {part.module: module.get_submodule(part.module) for part in group.slices}
    tensors = [getattr(parts[part.module], part.tensor) for part in group.slices]
    saved = {each: each.detach().clone() for each in tensors if isinstance(each, nn.Parameter)}
    try:
        zero(module, [group], [units])
        yield
    finally:
        for path, part in parts.items():
            if module.get_submodule(path) is not part:  # a normalisation was replaced
                module.set_submodule(path, part)
        for tensor, values in saved.items():
            tensor.data.copy_(values)
