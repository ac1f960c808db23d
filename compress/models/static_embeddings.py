"""A model that is one table: a vector for each token, whatever stands beside it.

Such a model is made from an encoder in "Model2Vec" (Tulkens and van Dongen, 2024,
doi:10.5281/zenodo.17270888): a text's embedding is the mean of its tokens' vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compress.errors import ModelError


class StaticEmbeddings(nn.Module):
    """Looks each token up in a table.

    Parameters
    ----------
    tokens, dimensions : numbers of rows and of columns of the table.

    Attributes
    ----------
    table : the vectors of the tokens, (tokens, dimensions). A token's weight in the mean is part of
        its vector.
    """

    def __init__(self, tokens: int, dimensions: int) -> None:
        super().__init__()
        self.table = nn.Embedding(tokens, dimensions)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Vectors of tokens (N, S, dimensions); zeros where the mask (N, S) is 0.

        The tokenizers of encoders give `token_type_ids` too, which mean nothing here.
        """
        vectors: Tensor = self.table(input_ids)
        return vectors * attention_mask.unsqueeze(-1).to(vectors.dtype)

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the table, as models of `transformers` do."""
        return self.table


@dataclass(frozen=True)
class StaticSource:
    """Builds `StaticEmbeddings`.

    Attributes
    ----------
    tokens, dimensions : see `StaticEmbeddings`.
    """

    tokens: int
    dimensions: int

    def build(self) -> nn.Module:
        """A new table in fp32 on the CPU, in eval mode, from torch's global seed."""
        return StaticEmbeddings(self.tokens, self.dimensions).eval()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; see `compress.models.source.source_from_dict`."""
        return {"kind": "static", "tokens": self.tokens, "dimensions": self.dimensions}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StaticSource:
        """See `compress.models.source.source_from_dict`; without the kind.

        Raises
        ------
        ModelError : as it does.
        """
        sizes = [values.get(name) for name in ("tokens", "dimensions")]
        if set(values) != {"tokens", "dimensions"} or not all(
            type(size) is int and size >= 1 for size in sizes
        ):
            raise ModelError(
                "a model source of kind 'static' is damaged: tokens and dimensions are numbers."
            )
        return cls(values["tokens"], values["dimensions"])


def with_table(table: Tensor) -> tuple[StaticEmbeddings, StaticSource]:
    """A module in eval mode with a table (tokens, dimensions) of float32, and its source."""
    source = StaticSource(*table.shape)
    module = StaticEmbeddings(source.tokens, source.dimensions)
    with torch.no_grad():
        module.table.weight.copy_(table)
    return module.eval(), source
