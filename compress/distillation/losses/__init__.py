"""The losses that a student minimises: pure functions of two models' answers.

Each returns a scalar that is averaged over samples, or over the tokens that a mask counts, and is
computed in fp32 whatever precision the models ran in (in float64 where they did). Nothing that a
mask leaves out changes a value or a gradient, and where nothing counts both are 0.
"""

from compress.distillation.losses.attention import (
    attention_maps,
    attention_transfer,
    average_heads,
    query_key_relation,
    self_relation,
)
from compress.distillation.losses.chunks import TokenLoss, chunked
from compress.distillation.losses.embedding import embedding_cosine
from compress.distillation.losses.feature import feature, pooled_to_fit
from compress.distillation.losses.generation import Divergence, shift, token_divergence
from compress.distillation.losses.labels import binary_labels, labels
from compress.distillation.losses.negatives import embedding_margin_mse, in_batch_negatives
from compress.distillation.losses.relation import (
    cosine_similarity,
    rkd_angle,
    rkd_distance,
    similarity_preserving,
)
from compress.distillation.losses.response import (
    binary_response,
    decoupled,
    response,
    response_top_k,
)

__all__ = [
    "Divergence",
    "TokenLoss",
    "attention_maps",
    "attention_transfer",
    "average_heads",
    "binary_labels",
    "binary_response",
    "chunked",
    "cosine_similarity",
    "decoupled",
    "embedding_cosine",
    "embedding_margin_mse",
    "feature",
    "in_batch_negatives",
    "labels",
    "pooled_to_fit",
    "query_key_relation",
    "response",
    "response_top_k",
    "rkd_angle",
    "rkd_distance",
    "self_relation",
    "shift",
    "similarity_preserving",
    "token_divergence",
]
