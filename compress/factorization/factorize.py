"""Factorizes a model's layers into pairs of smaller ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn

from compress.core.progress import Progress, Silent
from compress.errors import StageError
from compress.factorization.describe import describe
from compress.factorization.effects import effects
from compress.factorization.layers import FoundLayers, MatrixLayer, find_layers
from compress.factorization.options import LowRankOptions, LowRankTarget
from compress.factorization.ranks import (
    Goal,
    probing_ranks,
    ranks_by_energy,
    ranks_by_ratio,
    ranks_by_target,
    require_reachable,
)
from compress.factorization.spectra import activation_spectra, plain_spectra
from compress.factorization.spectrum import Spectrum
from compress.models.low_rank import LowRankLayer, fill, is_conv1d, product, put_low_rank

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

SAME_ANSWER = 1e-4
"""Largest difference from the answer with the factors multiplied back, relative to its largest."""


class ModuleCost(Protocol):
    """The cost of a module."""

    @property
    def params(self) -> int:
        """Number of parameters; shared ones count once."""
        ...

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one sample."""
        ...


@dataclass(frozen=True)
class Factorized:
    """A model with low-rank layers.

    Attributes
    ----------
    module : new, in eval mode.
    ranks : ranks of the factorized layers, by path. With the old source they make the new
        `compress.models.source.LowRankSource`.
    before, after : parameters, and MACs of one sample.
    notes : ranks, layers that stayed whole with the reasons, costs, and the loss.
    """

    module: nn.Module
    ranks: Mapping[str, int]
    before: ModuleCost
    after: ModuleCost
    notes: tuple[str, ...]


def factorize(
    module: nn.Module,
    *,
    options: LowRankOptions,
    inputs: Batch,
    task: Task,
    count: Callable[[nn.Module], ModuleCost],
    batches: Iterable[Batch] = (),
    device: str = "cpu",
    progress: Progress | None = None,
) -> Factorized:
    """Factorize linear layers and convolutions into two each, if that makes them smaller.

    Parameters
    ----------
    module : in eval mode, on the CPU; left as it was.
    options : the layers, how much of them to remove, and the measure of energy.
    inputs : one sample, on which layers are found and answers are compared.
    count : returns a module's parameters and MACs; called with the module and with the result.
    batches : calibration data, read only by `method: activation`. They are read more than once if
        Gram matrices of all layers would take more than `spectra.GRAM_BYTES`.
    device : where activations are computed and matrices decomposed.

    Raises
    ------
    TargetError : the target can't be met; the message gives the least that can. It is raised
        before any data is read.
    StageError : a pattern fits no layer, nothing can be split or would get smaller, or the model
        doesn't run with its layers split.
    """
    before = count(module)
    layers, alone = _possible(module, before, options=options, task=task, inputs=inputs)
    placed = module if device == "cpu" else copy.deepcopy(module).to(device)
    progress = progress or Silent()
    spectra: Sequence[Spectrum]
    notes: tuple[str, ...] = ()
    if options.method == "svd":
        spectra = plain_spectra(placed, layers, progress=progress)
    else:
        spectra, notes = activation_spectra(
            placed, layers, task=task, batches=batches, progress=progress
        )
    ranks = _ranks(placed, layers, spectra, before, options=options, task=task, batches=batches)
    split = {layer.path: rank for layer, rank in zip(layers, ranks, strict=True) if rank}
    if not split:
        raise StageError(
            f"no layer gets smaller with an energy of {options.energy:g}. Keep less, or give "
            "'ratio' or 'target'."
        )
    smaller = _split(module, split, layers, spectra)
    same, error = _compare(module, smaller, split, task=task, inputs=inputs)
    after = count(smaller)
    notes = (*describe(layers, ranks, spectra), *alone, *notes)
    notes += (_costs(before, after, inputs), _errors(same, error))
    return Factorized(smaller, split, before, after, notes)


def planned(
    module: nn.Module,
    *,
    options: LowRankOptions,
    inputs: Batch,
    task: Task,
    count: Callable[[nn.Module], ModuleCost],
) -> tuple[nn.Module, dict[str, int]] | None:
    """Return the structure and the ranks that `factorize` will give; None if spectra decide them.

    Raises
    ------
    TargetError, StageError : as `factorize`, if the error can be found without decomposing.
    """
    layers, _ = _possible(module, count(module), options=options, task=task, inputs=inputs)
    if options.ratio is None:
        return None
    ranks = ranks_by_ratio(layers, options.ratio)
    split = {layer.path: rank for layer, rank in zip(layers, ranks, strict=True)}
    return put_low_rank(copy.deepcopy(module), split), split


def _possible(
    module: nn.Module, before: ModuleCost, *, options: LowRankOptions, task: Task, inputs: Batch
) -> FoundLayers:
    found = find_layers(
        module, task=task, inputs=inputs, layers=options.layers, exclude=options.exclude
    )
    if options.target is not None:
        require_reachable(found.layers, _goal(before, options.target))
    return found


def _ranks(
    module: nn.Module,
    layers: Sequence[MatrixLayer],
    spectra: Sequence[Spectrum],
    before: ModuleCost,
    *,
    options: LowRankOptions,
    task: Task,
    batches: Iterable[Batch],
) -> Sequence[int | None]:
    if options.energy is not None:
        return ranks_by_energy(layers, spectra, options.energy)
    if options.target is None:
        return ranks_by_ratio(layers, cast("float", options.ratio))
    goal = _goal(before, options.target)
    weights = None
    if options.method == "activation":
        probes = probing_ranks(layers, goal)
        first = next(iter(batches))
        weights = effects(module, layers, spectra, probes, task=task, batch=first)
    return ranks_by_target(layers, spectra, goal, effects=weights)


def _split(
    module: nn.Module,
    split: Mapping[str, int],
    layers: Sequence[MatrixLayer],
    spectra: Sequence[Spectrum],
) -> nn.Module:
    """Return a copy with the layers' factors."""
    smaller = put_low_rank(copy.deepcopy(module), split)
    for layer, found in zip(layers, spectra, strict=True):
        if (rank := split.get(layer.path)) is not None:
            part = cast("LowRankLayer", smaller.get_submodule(layer.path))
            fill(part, found.left[:, :rank], found.right[:rank])
    return smaller


def _goal(before: ModuleCost, target: LowRankTarget) -> Goal:
    return Goal(target.quantity, target.fraction, getattr(before, target.quantity))


def _compare(
    module: nn.Module, smaller: nn.Module, split: Mapping[str, int], *, task: Task, inputs: Batch
) -> tuple[float, float]:
    """Return relative differences from the module with multiplied factors, and as it was."""
    whole = copy.deepcopy(module)
    for path in split:
        weight = cast("Tensor", whole.get_submodule(path).weight)
        back = product(cast("LowRankLayer", smaller.get_submodule(path)))
        turned = back.T if is_conv1d(whole.get_submodule(path)) else back
        weight.data.copy_(turned.reshape(weight.shape))
    name = type(module).__name__
    with torch.no_grad():
        try:
            answer = task.logits(smaller, inputs)
        except (RuntimeError, ValueError, AttributeError) as error:
            raise StageError(
                f"{name} doesn't run once its layers are split; its forward may read their "
                f"weights, so leave them out with 'exclude': {error}"
            ) from error
        same = _relative(answer, task.logits(whole, inputs))
        lost = _relative(answer, task.logits(module, inputs))
    if not same <= SAME_ANSWER:
        raise StageError(
            f"{name} was misunderstood: with its layers split it differs by {same:.1e} (relative) "
            "from itself with the factors multiplied back. It can't be split."
        )
    return same, lost


def _relative(answer: Tensor, wanted: Tensor) -> float:
    return float((answer - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12))


def _costs(before: ModuleCost, after: ModuleCost, inputs: Batch) -> str:
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
    return (
        f"params {before.params:,} to {after.params:,} ({after.params / before.params:.1%}), "
        f"MACs {before.macs:,} to {after.macs:,} ({after.macs / before.macs:.1%}) for {shapes}."
    )


def _errors(same: float, error: float) -> str:
    return (
        f"on one sample the answer changes by {error:.1e} (relative) before any training; it is "
        f"the multiplied factors' to {same:.0e}."
    )
