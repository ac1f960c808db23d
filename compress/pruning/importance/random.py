"""Random importance: the baseline of all criteria."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from compress.models.structure.groups import Group


def random(groups: Sequence[Group], *, seed: int) -> list[Tensor]:
    """Uniform random numbers in [0, 1): (U,) of each group, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(g.units, generator=generator, dtype=torch.float64) for g in groups]
