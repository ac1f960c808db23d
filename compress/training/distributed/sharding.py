"""Divides the samples of a batch among processes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch

from compress.core.batch import MIX_WITH
from compress.core.context import Batch
from compress.training.batches import sample_count


@dataclass(frozen=True)
class Sharding:
    """Cuts every batch into one slice for each process.

    The order of the data and the steps are the same with any number of processes.

    Attributes
    ----------
    index, processes : index of this process, and number of processes.
    smallest : smallest number of samples in a slice (2 for batch normalisation).
    """

    index: int = 0
    processes: int = 1
    smallest: int = 1

    def ranges(self, samples: int) -> list[range]:
        """The samples of each slice. Small batches give fewer slices than processes."""
        used = max(1, min(self.processes, samples // self.smallest))
        bounds = [slot * samples // used for slot in range(used + 1)]
        return [range(start, stop) for start, stop in pairwise(bounds)]

    def cut(self, batch: Batch) -> tuple[Batch, bool]:
        """This process's slice, and whether it counts.

        A slice that doesn't count repeats samples of another process, so that this process takes
        part in all collective operations.
        """
        if self.processes == 1:
            return batch, True
        ranges = self.ranges(sample_count(batch))
        counts = self.index < len(ranges)
        own = ranges[self.index if counts else 0]
        cut = {name: tensor[own.start : own.stop] for name, tensor in batch.items()}
        if MIX_WITH in cut:
            cut[MIX_WITH] = cut[MIX_WITH] - own.start
        return cut, counts


def partners(ranges: list[range], generator: torch.Generator) -> torch.Tensor:
    """For each sample the index of another to mix it with, in the same range; (N,) int64."""
    return torch.cat([torch.randperm(len(own), generator=generator) + own.start for own in ranges])
