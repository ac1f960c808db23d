"""Losses on the data's labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.core.batch import IGNORED
from compress.distillation.losses.rows import average, check_shape, kept


def labels(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with smoothed labels (Szegedy et al., CVPR 2016, arXiv:1512.00567).

    Parameters
    ----------
    logits : (N, C), or (N, S, V) of tokens.
    targets : int (N,) or (N, S), class indices, or -100 for a row that doesn't count; or float of
        the logits' shape, each row the classes' probabilities. A row of zeros, or with a value
        below 0, doesn't count.
    label_smoothing : in [0, 1), the probability that is spread evenly over all C classes, the
        right one included.

    Returns
    -------
    A scalar in nats, averaged over the rows that count.

    Raises
    ------
    StageError : shapes that don't belong together.
    """
    if targets.is_floating_point():
        check_shape("targets", targets.shape, logits.shape)
        mask = (targets >= 0).all(-1) & (targets > 0).any(-1)
        wanted = kept(targets, mask)
    else:
        check_shape("targets", targets.shape, logits.shape[:-1])
        mask = targets != IGNORED
        wanted = targets[mask].long()
    # Rows are chosen before the softmax, as an ignored NaN would still reach the gradient.
    return average(
        F.cross_entropy(
            kept(logits, mask), wanted, label_smoothing=label_smoothing, reduction="none"
        )
    )


def binary_labels(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of independent sigmoids, for heads of several labels.

    Parameters
    ----------
    logits : (N, C); C = 1 is the binary head.
    targets : (N, C), each the probability in [0, 1] that the class is there; a row with values
        below 0 doesn't count.
    label_smoothing : in [0, 1), the probability that is spread evenly over yes and no.

    Returns
    -------
    A scalar in nats, averaged over the rows that count and over classes.

    Raises
    ------
    StageError : shapes that differ.
    """
    check_shape("targets", targets.shape, logits.shape)
    mask = (targets >= 0).all(-1)
    scores = kept(logits, mask)
    wanted = kept(targets, mask).to(scores.dtype)
    wanted = torch.lerp(wanted, torch.full_like(wanted, 0.5), label_smoothing)
    return average(F.binary_cross_entropy_with_logits(scores, wanted, reduction="none"))
