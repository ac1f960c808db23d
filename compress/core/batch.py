"""What a batch may hold besides model inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

ATTENTION_MASK = "attention_mask"
"""The model input that says which tokens aren't padding: (N, S) int64, 1 and 0. Texts have it."""
LABELS = "labels"
"""See `compress.core.context.Target`. A training may have mixed them into probabilities (N, C)."""
SAMPLE_IDS = "sample_ids"
"""(N,) int64: what identifies each sample, the same in every epoch."""
MIX_WITH = "mix_with"
"""(N,) int64: the place in the batch of the sample whose embeddings are mixed into each one's."""
MIX_WEIGHT = "mix_weight"
"""(N,) float32 in [0, 1]: the share of a sample's own embeddings in the mixture."""
NOT_INPUTS = frozenset({LABELS, SAMPLE_IDS, MIX_WITH, MIX_WEIGHT})

IGNORED = -100
"""The class of what has no label."""

_Value = TypeVar("_Value")


def model_inputs(batch: Mapping[str, _Value]) -> dict[str, _Value]:
    """All of a batch that a model is given, in the batch's order."""
    return {name: value for name, value in batch.items() if name not in NOT_INPUTS}
