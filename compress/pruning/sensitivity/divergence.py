"""The divergence of one model's answers from another's, for each kind of label."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from compress.core.batch import ATTENTION_MASK
from compress.core.context import Batch, Target

MEASURES: dict[Target, str] = {
    "class": "KL of the class probabilities, nats a sample",
    "class-set": "KL of each class's probability, summed, nats a sample",
    "token-class": "KL of the class probabilities, nats a token",
    "next-token": "KL of the next token's probabilities, nats a token",
    "none": "squared difference of the hidden states as a part of their square",
    "own": "squared difference of the outputs as a part of their square",
}
"""Names of the divergence by kind of label."""
_ELEMENTS = 2**22
"""Number of scores that are compared at a time, in double precision."""


def distances(
    wanted: Tensor, answer: Tensor, *, batch: Batch, target: Target
) -> tuple[float, float]:
    """Divergence of a batch's answers as (sum, weight).

    The mean over batches is the quotient of the two's sums. The divergence is the Kullback-Leibler
    divergence KL(wanted || answer) of the probabilities, in nats. For hidden states it is the
    squared difference, and the weight is the squared length. Padding doesn't count.

    Parameters
    ----------
    wanted, answer : (N, C) or (N, S, C) raw scores, or hidden states.
    batch : the inputs; the attention mask says which tokens are real.
    target : the kind of label.
    """
    wanted, answer = real_tokens(wanted, batch), real_tokens(answer, batch)
    rows = max(1, _ELEMENTS // wanted.shape[-1])
    pieces = list(zip(torch.split(wanted, rows), torch.split(answer, rows), strict=True))
    if target in ("none", "own"):
        differences = (float((w.double() - a.double()).square().sum()) for w, a in pieces)
        return sum(differences), sum(float(w.double().square().sum()) for w, _ in pieces)
    kl = sum(_kl(w.double(), a.double(), each=target == "class-set") for w, a in pieces)
    return kl, float(len(wanted))


def _kl(wanted: Tensor, answer: Tensor, *, each: bool) -> float:
    if each:  # a class's probability and its complement are the softmax of its score and zero
        wanted, answer = (torch.stack([x, torch.zeros_like(x)], dim=-1) for x in (wanted, answer))
    return float(
        functional.kl_div(
            functional.log_softmax(answer, dim=-1),
            functional.log_softmax(wanted, dim=-1),
            log_target=True,
            reduction="sum",
        )
    )


def real_tokens(values: Tensor, batch: Batch) -> Tensor:
    """The (N, S, ...) values of tokens that aren't padding: (T, ...). Other values are all kept."""
    mask = batch.get(ATTENTION_MASK)
    if mask is None or values.shape[:2] != mask.shape:
        return values.flatten(0, 1) if values.ndim > 2 else values
    return values[mask.bool()]
