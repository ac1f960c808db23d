"""Mixes samples of a batch: images, word embeddings, and their labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from compress.core.batch import IGNORED, MIX_WEIGHT, MIX_WITH
from compress.core.context import Batch
from compress.errors import StageError


def mixup(images: Tensor, others: Tensor, share: float) -> Tensor:
    """`share` of each image plus 1 - `share` of the other (Zhang et al., 2018); (N, C, H, W)."""
    return images * share + others * (1 - share)


def cutmix(
    images: Tensor, others: Tensor, share: float, *, centre: tuple[float, float]
) -> tuple[Tensor, float]:
    """Replace a rectangle, 1 - `share` of each image's area, by the other's (Yun et al., 2019).

    Parameters
    ----------
    centre : centre of the rectangle, as fractions of height and width.

    Returns
    -------
    The images (N, C, H, W), and the actual share: the rectangle is cut off at the border.
    """
    height, width = images.shape[-2:]
    half = (1 - share) ** 0.5 / 2
    top, left = (
        round(max(0.0, at - half) * size) for at, size in zip(centre, (height, width), strict=True)
    )
    bottom, right = (
        round(min(1.0, at + half) * size) for at, size in zip(centre, (height, width), strict=True)
    )
    made = images.clone()
    made[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return made, 1 - (bottom - top) * (right - left) / (height * width)


def as_probabilities(labels: Tensor, *, classes: int) -> Tensor:
    """Labels of the target "class" as rows of probabilities, (N, C) float32.

    A sample without a label gets a row of zeros. Rows of floats are returned as they are.
    """
    if labels.is_floating_point():
        return labels
    known = labels != IGNORED
    rows = nn.functional.one_hot(labels.where(known, 0), classes).float()
    return rows * known[:, None]


def mixed_labels(labels: Tensor, mix_with: Tensor, share: float, *, unknown: float) -> Tensor:
    """`share` of each row plus 1 - `share` of its partner's row.

    If one of the two is unlabelled, so is the mixture.

    Parameters
    ----------
    labels : (N, C): probabilities, or sets of classes.
    mix_with : (N,), the index of each row's partner.
    unknown : value of all entries for an unlabelled sample: 0 in probabilities, -1 in sets.
    """
    missing = (labels == unknown).all(1)
    mixed = labels * share + labels[mix_with] * (1 - share)
    return torch.where((missing | missing[mix_with])[:, None], unknown, mixed)


@contextmanager
def mixed_embeddings(module: nn.Module, batch: Batch) -> Iterator[None]:
    """Mix the module's word embeddings inside the context as the batch says.

    Each sample's embeddings, (N, S, H), become `mix_weight` of its own plus 1 - `mix_weight` of
    those of the sample that `mix_with` names (Guo et al., 2019). A batch without these entries
    isn't mixed.

    Raises
    ------
    StageError : the module's word embeddings can't be found.
    """
    if MIX_WITH not in batch:
        yield
        return
    partner = batch[MIX_WITH]

    def mix(_: nn.Module, __: Any, embedded: Tensor) -> Tensor:
        share = batch[MIX_WEIGHT].to(embedded.dtype)[:, None, None]
        return embedded * share + embedded[partner] * (1 - share)

    hook = _word_embeddings(module).register_forward_hook(mix)
    try:
        yield
    finally:
        hook.remove()


def _word_embeddings(module: nn.Module) -> nn.Module:
    named = getattr(module, "get_input_embeddings", None)
    found = [part for part in module.modules() if isinstance(part, nn.Embedding)]
    if named is not None:
        return named()  # type: ignore[no-any-return]
    if len(found) == 1:
        return found[0]
    raise StageError(
        "'mix_embeddings' needs a transformers model, or a module with one nn.Embedding. "
        f"Got a {type(module).__name__} with {len(found)}."
    )
