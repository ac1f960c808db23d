"""Computes losses of tokens without the logits of all tokens at once.

For a vocabulary of 128k and 2k tokens the logits of one model take 1 GB, and a divergence holds
several such tensors for both models. Here a few tokens at a time go through the head and the
losses. The backward pass recomputes their logits instead of storing them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from compress.distillation.losses.rows import check_mask, check_shape, precise

Head = Callable[[Tensor], Tensor]


class TokenLoss(NamedTuple):
    """One loss of a pass over tokens.

    Attributes
    ----------
    loss : (student logits (M, V), *rows (M, ...)) -> the mean over the M tokens.
    rows : (N, S, ...) each; further inputs for every token: targets, the teacher's last hidden
        states, or a teacher's stored answers.
    mask : bool, (N, S), the tokens that it counts.
    """

    loss: Callable[..., Tensor]
    rows: tuple[Tensor, ...]
    mask: Tensor


def chunked(
    hidden: Tensor, *, head: Head, parts: Mapping[str, TokenLoss], chunk_tokens: int = 256
) -> dict[str, Tensor]:
    """Return each part's `part.loss(head(hidden)[mask], *rows[mask])`, in chunks of tokens.

    The parts of a chunk share its logits. Tokens that no part counts are not computed. Call `shift`
    first for predictions of the next token. A live teacher's head belongs into the loss, so that
    its logits live no longer than the student's:

    >>> def divergence(student_logits, teacher_hidden):
    ...     return token_divergence(student_logits, teacher_head(teacher_hidden), temperature=2.0)
    >>> states, wanted = shift(student_hidden, batch[LABELS])
    >>> mask = wanted != IGNORED
    >>> parts = {
    ...     "response": TokenLoss(divergence, (teacher_hidden[:, :-1],), mask),
    ...     "labels": TokenLoss(labels, (wanted,), mask),
    ... }
    >>> chunked(states, head=student.get_output_embeddings(), parts=parts)

    Parameters
    ----------
    hidden : (N, S, H), the input of the student's head.
    head : (M, H) -> (M, V). It includes any scaling or capping of logits after the output layer.
    parts : the losses by name.
    chunk_tokens : number of tokens whose logits exist at a time. On a CPU take a few hundred:
        tensors below 32 MiB lie in glibc's heap. That heap (seen with 2.36) grows from chunk to
        chunk although they are freed, unless the environment has MALLOC_MMAP_THRESHOLD_=1000000.

    Returns
    -------
    For each part its average over the tokens that it counts, unweighted; 0 with gradient 0 if it
    counts none.

    Raises
    ------
    StageError : rows or masks don't have the hidden states' (N, S).
    """
    counted = torch.zeros(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
    for name, part in parts.items():
        check_mask(part.mask)
        for values in (part.mask, *part.rows):
            check_shape(f"parts[{name}]", values.shape[:2], hidden.shape[:2])
        counted = counted | part.mask
    chosen = {
        name: TokenLoss(
            part.loss, tuple(values[counted] for values in part.rows), part.mask[counted]
        )
        for name, part in parts.items()
    }
    # Without tokens there is one empty chunk, so that the head still gets its gradient of 0.
    states = hidden[counted]
    chunks = [
        checkpoint(
            _sums,
            state,
            head,
            {name: _slice(part, start, chunk_tokens) for name, part in chosen.items()},
            use_reentrant=False,
        )
        for start, state in zip(
            range(0, max(len(states), 1), chunk_tokens),
            torch.split(states, chunk_tokens),
            strict=True,
        )
    ]
    return {
        name: torch.stack([chunk[name] for chunk in chunks]).sum() / part.mask.sum().clamp_min(1)
        for name, part in parts.items()
    }


def _slice(part: TokenLoss, start: int, length: int) -> TokenLoss:
    end = start + length
    return TokenLoss(part.loss, tuple(rows[start:end] for rows in part.rows), part.mask[start:end])


def _sums(states: Tensor, head: Head, parts: Mapping[str, TokenLoss]) -> dict[str, Tensor]:
    logits = head(states)
    sums = {}
    for name, (loss, rows, mask) in parts.items():
        chosen = logits
        if not mask.all():  # else without a copy of the logits
            chosen, rows = logits[mask], tuple(values[mask] for values in rows)
        sums[name] = precise(loss(chosen, *rows)) * len(chosen)
    return sums
