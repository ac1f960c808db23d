"""Importance by gradients: units without which the loss would change are important.

Both criteria compute each sample's gradient in a pass of its own. In a batch's mean gradient the
samples' gradients cancel, nearly completely once a model has been trained. Its square isn't the
mean of their squares, and depends on how samples were batched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress.errors import StageError
from compress.models.structure.groups import Group
from compress.pruning.importance.unchanged import evaluating
from compress.pruning.importance.weights import UnitWeights
from compress.training.acceleration import placed_batch
from compress.training.batches import sample_count

if TYPE_CHECKING:
    from compress.core.context import Batch

Loss = Callable[[nn.Module, "Batch"], Tensor]
"""Returns the mean loss of a batch."""
Products = dict[nn.Parameter, Tensor]
"""One sample's gradients times the weights, for the parameters that its loss depends on."""


def taylor(
    module: nn.Module, groups: Sequence[Group], *, batches: Iterable[Batch], loss: Loss
) -> list[Tensor]:
    """Change of a sample's loss without the unit, to first order: (U,) of each group.

    This is the root of the mean over samples of (Σ_k g_k w_k)², where w_k are all parameters of the
    unit and g_k the loss's gradients. Molchanov et al., "Importance Estimation for Neural Network
    Pruning", CVPR 2019, arXiv:1906.10771, equation 8 for a whole unit's contribution. The root
    keeps the order and is in units of the loss. Layers are comparable without scaling.

    Raises
    ------
    StageError : there is no sample, or its loss can't be differentiated.
    """
    means = _means(module, groups, batches=batches, loss=loss, of_units=torch.square)
    return [mean.sqrt() for mean in means]


def hessian(
    module: nn.Module, groups: Sequence[Group], *, batches: Iterable[Batch], loss: Loss
) -> list[Tensor]:
    """Rise of the loss without the unit, to second order: (U,) of each group.

    This is ½ Σ_k h_k w_k² over all parameters of the unit, in units of the loss. LeCun et al.,
    "Optimal Brain Damage", NeurIPS 1989, neglect the gradient and the interactions of parameters.
    The Hessian's diagonal h_k is approximated by the empirical Fisher information: the mean of the
    samples' squared gradients. The two are close if a trained model's probabilities fit the labels
    (Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018,
    arXiv:1801.05787).

    Raises
    ------
    StageError : there is no sample, or its loss can't be differentiated.
    """
    means = _means(module, groups, batches=batches, loss=loss, of_weights=_squared)
    return [mean / 2 for mean in means]


def _itself(values: Tensor) -> Tensor:
    return values


def _squared(values: Tensor) -> Tensor:
    return values.double().square()  # small gradients' squares underflow in fp32


def _means(
    module: nn.Module,
    groups: Sequence[Group],
    *,
    batches: Iterable[Batch],
    loss: Loss,
    of_weights: Callable[[Tensor], Tensor] = _itself,
    of_units: Callable[[Tensor], Tensor] = _itself,
) -> list[Tensor]:
    """Mean over samples of `of_units` of each unit's sum of `of_weights`: (U,) of each group.

    `of_weights` is applied to the gradients times the weights. `.grad` isn't touched.
    """
    weights = [UnitWeights(module, group) for group in groups]
    wanted = list({each: None for own in weights for each in own.parameters})
    totals = [torch.zeros(group.units, dtype=torch.float64) for group in groups]
    samples = 0
    with evaluating(module, differentiate=wanted) as device:
        for batch in batches:
            placed = placed_batch(batch, device=device, channels_last=False)
            for place in range(sample_count(batch)):
                sample = {name: value[place : place + 1] for name, value in placed.items()}
                products = _products(module, sample, wanted, loss=loss)
                values = {each: of_weights(product) for each, product in products.items()}
                for total, own in zip(totals, weights, strict=True):
                    total += of_units(own.sums(values))
                samples += 1
    if not samples:
        raise StageError("there is no sample to take the loss's gradient on.")
    return [total / samples for total in totals]


def _products(
    module: nn.Module, sample: Batch, wanted: Sequence[nn.Parameter], *, loss: Loss
) -> Products:
    with torch.enable_grad():
        value = loss(module, sample)
        if not value.requires_grad:
            raise StageError("the loss doesn't depend on any weight of the units.")
        if not bool(value.isfinite().all()):
            raise StageError(
                f"the loss of one sample is {value.item()}; it must be a finite number, 0 for a "
                "sample without label."
            )
        gradients = torch.autograd.grad(value, wanted, allow_unused=True)
    return {
        each: gradient * each.detach()
        for each, gradient in zip(wanted, gradients, strict=True)
        if gradient is not None
    }
