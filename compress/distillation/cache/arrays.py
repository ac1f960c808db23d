"""Converts a teacher's answers to rows of arrays that are kept, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compress.core.batch import ATTENTION_MASK
from compress.core.context import Batch
from compress.distillation.answers import Answers, TopK
from compress.errors import StageError, expected

Rows = npt.NDArray[Any]
Precision = Literal["fp16", "fp32"]

LOGITS, INDICES, TAIL = "logits", "indices", "tail"
_FEATURE = "feature:"


@dataclass(frozen=True)
class Kept:
    """The parts of a teacher's answers that are kept.

    Attributes
    ----------
    logits : whether the task's output is kept.
    features : paths of the teacher's modules whose outputs are kept.
    top_k : number of the largest logits that are kept; None for all.
    temperature : divides the logits in the tail, which are those that aren't kept.
    dtype : type of logits and features. The tail is always fp32.
    """

    logits: bool
    features: tuple[str, ...] = ()
    top_k: int | None = None
    temperature: float = 1.0
    dtype: Precision = "fp32"


@dataclass(frozen=True)
class Array:
    """An array with rows of one shape, one for each sample or for each real token of a sample."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    per_token: bool

    @property
    def row_bytes(self) -> int:
        """Number of bytes of one row."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def top_k(logits: Tensor, *, k: int, temperature: float) -> TopK:
    """Return the k largest of the logits (..., C), and the mass of the others.

    Raises
    ------
    StageError : there are fewer than k logits.
    """
    classes = logits.shape[-1]
    if k > classes:
        raise StageError(expected("top_k", f"at most the teacher's {classes} logits", k))
    logits = logits.float()
    values, indices = logits.topk(k, dim=-1)
    others = (logits / temperature).scatter(-1, indices, -torch.inf)
    return TopK(indices, values, others.logsumexp(dim=-1))


def named_tensors(answers: Answers, kept: Kept) -> dict[str, Tensor]:
    """Return the kept parts of a batch's answers, by array name, on the CPU.

    Raises
    ------
    StageError : the teacher doesn't give a part that is to be kept, or top_k is too large.
    """
    found: dict[str, Tensor] = {}
    if kept.logits:
        logits = answers.logits
        if not isinstance(logits, Tensor):
            raise StageError("a cache of the teacher's logits needs a teacher that gives them.")
        if kept.top_k is None:
            found[LOGITS] = logits
        else:
            top = top_k(logits, k=kept.top_k, temperature=kept.temperature)
            found |= {LOGITS: top.logits, INDICES: top.indices, TAIL: top.tail}
    for path in kept.features:
        if path not in answers.features:
            raise StageError(f"the teacher gives no feature {path!r} to keep.")
        found[_FEATURE + path] = answers.features[path]
    return {name: tensor.detach().cpu() for name, tensor in found.items()}


def real_tokens(batch: Batch) -> npt.NDArray[np.bool_] | None:
    """Return a mask of the real tokens of a batch's texts, (N, S); None for images."""
    mask = batch.get(ATTENTION_MASK)
    return None if mask is None else mask.detach().cpu().numpy().astype(bool)


def arrays_for(
    tensors: Mapping[str, Tensor], mask: npt.NDArray[np.bool_] | None, *, kept: Kept
) -> tuple[Array, ...]:
    """Return the arrays that hold such tensors.

    Raises
    ------
    StageError : features are to be kept of samples that hold several texts.
    """
    if mask is not None and mask.ndim > 2 and kept.features:
        raise StageError(
            "features of samples with several texts can't be cached. Leave 'teacher.cache' out."
        )
    precision = {"fp16": "float16", "fp32": "float32"}[kept.dtype]
    token_dims = {TAIL: 2}
    arrays = []
    for name, tensor in tensors.items():
        per_token = mask is not None and tensor.dim() == token_dims.get(name, 3)
        dtype = {INDICES: "int32", TAIL: "float32"}.get(name, precision)
        arrays.append(Array(name, tuple(tensor.shape[1 + per_token :]), dtype, per_token))
    return tuple(arrays)


def to_rows(array: Array, tensor: Tensor, mask: npt.NDArray[np.bool_] | None) -> Rows:
    """Return a batch's rows: (N, *shape), or (real tokens of all samples, *shape).

    Raises
    ------
    StageError : the shape differs from that of earlier batches, or fp16 can't hold a number.
    """
    values = tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()
    if array.per_token and mask is not None and values.shape[:2] == mask.shape:
        values = values[mask]
    if values.shape[1:] != array.shape:
        raise StageError(
            f"the teacher's {array.name!r} must be of one shape in all batches to be cached. "
            f"Got {array.shape} and {tuple(values.shape[1:])}."
        )
    with np.errstate(over="ignore"):
        rows = values.astype(array.dtype)
    if array.dtype == "float16" and (np.isinf(rows) & np.isfinite(values)).any():
        raise StageError(
            f"the teacher's {array.name!r} reaches {np.abs(values).max():.3g}, more than fp16 "
            "holds. Use 'dtype: fp32'."
        )
    return rows


def to_answers(rows: Mapping[str, tuple[Array, Rows]], *, kept: Kept, batch: Batch) -> Answers:
    """Return a batch's answers from its rows, on the batch's device, with zeros at padding."""
    mask = real_tokens(batch)
    device = next(iter(batch.values())).device
    tensors: dict[str, Tensor] = {}
    for name, (array, values) in rows.items():
        dtype = np.dtype("int64") if name == INDICES else np.dtype("float32")
        if array.per_token and mask is not None:
            padded = np.zeros((*mask.shape, *array.shape), dtype)
            padded[mask] = values
        else:
            padded = values.astype(dtype)
        tensors[name] = torch.from_numpy(padded).to(device)
    logits: Tensor | TopK | None = tensors.get(LOGITS)
    if kept.top_k is not None and isinstance(logits, Tensor):
        logits = TopK(tensors[INDICES], logits, tensors[TAIL])
    features = {path: tensors[_FEATURE + path] for path in kept.features}
    return Answers(logits, features)
