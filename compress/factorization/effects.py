"""Measures how much a model's answers depend on each layer's energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from compress.core.batch import ATTENTION_MASK, model_inputs
from compress.factorization.layers import MatrixLayer
from compress.factorization.spectrum import Spectrum
from compress.models.low_rank import LowRankLayer, fill, low_rank_layer

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

_LITTLE = 1e-12


def effects(
    module: nn.Module,
    layers: Sequence[MatrixLayer],
    spectra: Sequence[Spectrum],
    ranks: Sequence[int],
    *,
    task: Task,
    batch: Batch,
) -> list[float]:
    """Return each layer's effect: the answers' squared change per fraction of its energy lost.

    One layer at a time is given its rank, and the model is run once. The effect makes energies of
    different layers comparable: if the inputs have one large direction that all tokens share, most
    of a layer's energy has no effect.

    Parameters
    ----------
    module : in eval mode; unchanged afterwards.
    ranks : about as low as they will be in the result.
    batch : a batch of calibration samples; answers at padding don't count.

    Returns
    -------
    One number for each layer, relative to the variance of all counted answers.
    """
    device = next(module.parameters()).device
    inputs = {name: value.to(device) for name, value in model_inputs(batch).items()}
    with torch.no_grad():
        wanted = _answers(module, inputs, task)
        scale = (wanted - wanted.mean(0)).square().sum().clamp_min(_LITTLE)
        found = []
        for layer, known, rank in zip(layers, spectra, ranks, strict=True):
            part = module.get_submodule(layer.path)
            smaller = low_rank_layer(part, rank)
            fill(smaller, known.left[:, :rank], known.right[:rank])
            handle = part.register_forward_hook(_instead(smaller), with_kwargs=True)
            try:
                change = (_answers(module, inputs, task) - wanted).square().sum() / scale
            finally:
                handle.remove()
            lost = max(float(known.lost()[rank]), _LITTLE)
            found.append(max(float(change), _LITTLE) / lost)
    return found


def _instead(smaller: LowRankLayer) -> Any:
    def answer(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], answer: Any) -> Tensor:
        made: Tensor = smaller(*given, *named.values())
        return made

    return answer


def _answers(module: nn.Module, inputs: Batch, task: Task) -> Tensor:
    """Return the answers (V, C) in float64, one row for each sample or each real token."""
    answers = task.logits(module, inputs)
    mask = inputs.get(ATTENTION_MASK)
    if mask is not None and answers.shape[:-1] == mask.shape:
        return answers[mask.bool()].double()
    return answers.flatten(0, -2).double()
