"""What a model's outputs mean, and several of them as one tensor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from compress.errors import StageError

if TYPE_CHECKING:
    from torch import Tensor


Role = Literal["classes", "values", "features"]
"""The meaning of an output: raw scores of classes along the last axis, numbers to be predicted, or
features that other models read."""
ROLES: tuple[Role, ...] = ("classes", "values", "features")
SENTENCE_EMBEDDING, HIDDEN = "sentence_embedding", "last_hidden_state"
"""Names of the outputs of sentence encoders, as sentence-transformers and Optimum have them."""
PRESENT = "present."
"""Beginning of the names of outputs that are a text generator's cache."""


def compared(names: Iterable[str]) -> list[str]:
    """Return the names of a file's outputs that make its answer.

    A cache doesn't count, nor do hidden states beside the embedding that is made of them.
    """
    given = list(names)
    beside = {HIDDEN} if SENTENCE_EMBEDDING in given else set()
    return [name for name in given if not name.startswith(PRESENT) and name not in beside]


def joined(outputs: Sequence[Any]) -> Any:
    """Return tensors or arrays of N samples as one, so that all of an answer is compared at once.

    A single output stays as it is. Several become (N, K), each flattened, in their order; or
    (N, S, K) if all of them have the same second axis S, as those of tokens have.
    """
    if len(outputs) == 1:
        return outputs[0]
    leading = 2 if _by_token(outputs) else 1
    flat = [values.reshape(*values.shape[:leading], -1) for values in outputs]
    if hasattr(flat[0], "detach"):
        import torch

        return torch.cat(flat, dim=-1)
    import numpy as np

    return np.concatenate(flat, axis=-1)


def classes_last(scores: Any, class_axis: int) -> Any:
    """Return scores, a tensor or an array, with the axis of their classes moved to the end.

    Raises
    ------
    StageError : they have no such axis besides that of the samples.
    """
    if class_axis in (-1, scores.ndim - 1):
        return scores
    if not 0 < class_axis % max(scores.ndim, 1) == class_axis:
        raise StageError(
            f"class_axis is {class_axis}, and the scores have the shape {tuple(scores.shape)}."
        )
    if hasattr(scores, "detach"):
        return scores.movedim(class_axis, -1)
    import numpy as np

    return np.moveaxis(scores, class_axis, -1)


def split(answer: Tensor, like: Sequence[Any]) -> list[Tensor]:
    """Return the outputs that `joined` made one, in the shapes of others from their model."""
    if len(like) == 1:
        return [answer]
    leading = 2 if _by_token(like) else 1
    widths = [values[(0,) * leading].numel() for values in like]
    starts = [sum(widths[:at]) for at in range(len(widths))]
    parts = [answer.narrow(-1, start, width) for start, width in zip(starts, widths, strict=True)]
    return [
        part.reshape(*part.shape[:leading], *values.shape[leading:])
        for part, values in zip(parts, like, strict=True)
    ]


def _by_token(outputs: Sequence[Any]) -> bool:
    seconds = {values.shape[1] if values.ndim > 1 else None for values in outputs}
    return len(seconds) == 1 and None not in seconds
