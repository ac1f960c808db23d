"""Entries that a batch may hold besides model inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

ATTENTION_MASK = "attention_mask"
"""The model input that marks the tokens of texts: (N, S) int64, 1 for a token, 0 for padding."""
LABELS = "labels"
"""The labels; see `compress.core.context.Target`. Training may mix them into probabilities (N, C).
"""
SAMPLE_IDS = "sample_ids"
"""(N,) int64: a number that identifies each sample, the same in every epoch."""
MIX_WITH = "mix_with"
"""(N,) int64: for each sample, the index in the batch of the sample that is mixed into it."""
MIX_WEIGHT = "mix_weight"
"""(N,) float32 in [0, 1]: the share of a sample's own embeddings in the mixture."""
NOT_INPUTS = frozenset({LABELS, SAMPLE_IDS, MIX_WITH, MIX_WEIGHT})
_LABELS_OF = f"{LABELS}."
_ABOUT = "about."

IGNORED = -100
"""The class index that stands for "no label"."""

_Value = TypeVar("_Value")


def model_inputs(batch: Mapping[str, _Value]) -> dict[str, _Value]:
    """The entries of a batch that are model inputs, in the batch's order."""
    return {
        name: value
        for name, value in batch.items()
        if name not in NOT_INPUTS and not name.startswith((_LABELS_OF, _ABOUT))
    }


def about_key(name: str) -> str:
    """The name of an entry that a task's own loss and metrics read: neither input nor label."""
    return _ABOUT + name


def about_in(batch: Mapping[str, _Value]) -> dict[str, _Value]:
    """The entries of a batch that are named by `about_key`, under these names."""
    return {name: value for name, value in batch.items() if name.startswith(_ABOUT)}


def is_by_token(value: Any, mask: Any) -> bool:
    """Return whether an input has a whole number for each token of an attention mask.

    Floats of the mask's shape are features, whatever their number.
    """
    return tuple(value.shape) == tuple(mask.shape) and "float" not in str(value.dtype)


def labels_key(output: str) -> str:
    """The name of the labels of one output, for models with several."""
    return _LABELS_OF + output


def labels_in(batch: Mapping[str, _Value]) -> dict[str, _Value]:
    """The labels of a batch: "labels", or those of each output by the output's name."""
    return {
        name.removeprefix(_LABELS_OF): value
        for name, value in batch.items()
        if name == LABELS or name.startswith(_LABELS_OF)
    }


PAIRS = about_key("pairs")
"""(N, 4) float64: for texts of pairs of a query and a document, what belongs together; see
`compress.data.texts.pairs`."""
SAMPLE = about_key("sample")
"""(N,) int64: for tasks that cut a sample into windows, the sample's place in the split."""
