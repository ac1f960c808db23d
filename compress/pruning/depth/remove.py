"""Removes the layers without which the model's answers change least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from compress.core.artifact import ModelSource
from compress.core.context import Loader, Task
from compress.core.progress import Progress, Silent
from compress.errors import StageError
from compress.models.structure.shorter import keep_layers
from compress.pruning.depth.options import DepthCriterion
from compress.pruning.depth.search import LayerSearch
from compress.pruning.sensitivity.divergence import MEASURES
from compress.training.acceleration import placed_copy


@dataclass(frozen=True)
class Removed:
    """One layer that was removed.

    Attributes
    ----------
    layer : its number in the model given, from 0.
    score : with "output", the divergence from the whole model's answers once this layer and all
        layers removed before it were gone; with "block_influence", the layer's influence.
    """

    layer: int
    score: float


@dataclass(frozen=True)
class Shallower:
    """A model with fewer layers.

    Attributes
    ----------
    module : the new module, in eval mode on the CPU.
    source : rebuilds its skeleton.
    removed : the removed layers, in the order of their removal.
    divergence : divergence of its answers from those of the model given.
    notes : what was removed, and what was measured.
    """

    module: nn.Module
    source: ModelSource
    removed: tuple[Removed, ...]
    divergence: float
    notes: tuple[str, ...]


def remove_layers(
    module: nn.Module,
    source: ModelSource | None,
    *,
    remain: int,
    criterion: DepthCriterion,
    task: Task,
    batches: Loader,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Shallower:
    """Remove the layers without which a model's answers change least.

    With "output", layers are removed one after another. Each time it is the layer without which the
    answers diverge least from the whole model's (`compress.pruning.sensitivity.divergence`). With
    "block_influence", the layers that change their input least are removed. Their influence is
    measured once, in the whole model: one minus the cosine similarity of a layer's input and
    output, averaged over tokens (Men et al., "ShortGPT", 2024, arXiv:2403.03853).

    Parameters
    ----------
    module : a transformers model with one list of layers, in eval mode; it is left as it was.
    source : the module's source.
    remain : the number of layers that remain, at least 1 and fewer than there are.
    batches : the samples to measure on, in the same order each time. They are read once for each
        layer to remove, or twice in all with "block_influence". One batch's answers are held at a
        time.
    device : the device to measure on.

    Raises
    ------
    StageError : the layers can't be chosen, or nothing can be measured.
    """
    placed = module if device == "cpu" else placed_copy(module, device=device)
    search = LayerSearch(placed, source, task=task, batches=batches)
    if not 1 <= remain < search.total:
        raise StageError(
            f"'remain' must be from 1 to {search.total - 1}: {type(module).__name__} has "
            f"{search.total} layers. Got {remain}."
        )
    choose = _by_output if criterion == "output" else _by_influence
    removed, divergence, notes = choose(
        search, remain=remain, passes=len(batches), progress=progress or Silent()
    )
    kept = _without([one.layer for one in removed], search.total)
    smaller = keep_layers(module, source, kept=kept)
    before, after = (sum(p.numel() for p in each.parameters()) for each in (module, smaller.module))
    every = (
        f"layers removed, in this order: {_listed([one.layer for one in removed])} of "
        f"{search.total} (from 0); {_listed(kept)} remain.",
        *notes,
        f"divergence from the model given: {divergence:.3g} ({MEASURES[task.target]}).",
        *(f"layer {layer} had to stay: {why}" for layer, why in sorted(search.bound.items())),
        f"params {before:,} to {after:,} ({after / before:.1%}).",
    )
    return Shallower(smaller.module, smaller.source, tuple(removed), divergence, every)


def _by_output(
    search: LayerSearch, *, remain: int, passes: int, progress: Progress
) -> tuple[list[Removed], float, list[str]]:
    removed: list[Removed] = []
    kept = list(range(search.total))
    steps = sum(range(remain + 1, search.total + 1)) * passes
    with progress.track("choose layers", steps) as advance:
        while len(kept) > remain:
            parts = search.candidates(kept)
            advance((len(kept) - len(parts)) * passes)
            found = search.divergences(list(parts.values()), advance)
            least, layer = min(zip(found, parts, strict=True))
            if least == math.inf:
                raise StageError("without any one of its layers, the model's answers overflow.")
            removed.append(Removed(layer, least))
            kept.remove(layer)
    each = "; ".join(f"layer {one.layer} {one.score:.3g}" for one in removed)
    return removed, removed[-1].score, [f"divergence after each: {each}."]


def _by_influence(
    search: LayerSearch, *, remain: int, passes: int, progress: Progress
) -> tuple[list[Removed], float, list[str]]:
    with progress.track("measure layers", 2 * passes) as advance:
        influences = search.influences(advance)
        removed: list[Removed] = []
        kept = list(range(search.total))
        while len(kept) > remain:
            layer = min(search.candidates(kept), key=lambda layer: influences[layer])
            removed.append(Removed(layer, influences[layer]))
            kept.remove(layer)
        [divergence] = search.divergences([search.part(kept)], advance)
    each = "; ".join(f"layer {layer} {value:.3g}" for layer, value in enumerate(influences))
    return removed, divergence, [f"block influence: {each}."]


def _without(gone: Sequence[int], total: int) -> list[int]:
    return [layer for layer in range(total) if layer not in gone]


def _listed(layers: Sequence[int]) -> str:
    return ", ".join(map(str, layers))
