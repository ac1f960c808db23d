"""Takes units out of a module for a moment, without a copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from compress.pruning.groups import Group
from compress.pruning.normalization import OverKept, normalizes


@contextmanager
def without(module: nn.Module, group: Group, units: Tensor) -> Iterator[None]:
    """Inside, the module answers as `compress.pruning.cut.mask` without the units would.

    Afterwards it is as it was, to the bit; weights are changed in place meanwhile.

    Parameters
    ----------
    units : (R,) int64, which units of the group go.
    """
    saved: dict[nn.Parameter, Tensor] = {}
    norms: dict[str, nn.Module] = {}
    try:
        for part in group.slices:
            owner = module.get_submodule(part.module)
            tensor = getattr(owner, part.tensor)
            if not isinstance(tensor, nn.Parameter):
                continue  # running statistics: zero variance would make infinities
            gone = part.index[units].flatten()
            if part.tensor == "weight" and normalizes(owner):
                kept = torch.ones(len(tensor), dtype=torch.bool)
                kept[gone] = False
                norms[part.module] = owner
                module.set_submodule(part.module, OverKept(owner, kept))
            if tensor not in saved:
                saved[tensor] = tensor.detach().clone()
            tensor.data.index_fill_(part.dim, gone.to(tensor.device), 0.0)
        yield
    finally:
        for path, norm in norms.items():
            module.set_submodule(path, norm)
        for tensor, values in saved.items():
            tensor.data.copy_(values)
