"""A classifier of texts that averages embeddings of n-grams of the tokenizer's pieces.

Joulin et al. ("Bag of Tricks for Efficient Text Classification", EACL 2017) hash n-grams of words
into the rows of one table and average them. Ye et al. ("Sparse Distillation: Speeding Up Text
Classification by Using Bigger Student Models", NAACL 2022) teach such a model by a transformer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from compress.models.ngrams.sizes import NgramSizes

_PRIME = 2**31 - 1
_FACTOR = 1_000_003
"""An id is below 2**31, so no product here reaches 2**52: int64 never overflows, and runtimes that
compute integers in float64 (JavaScript) make the same rows."""
_INITIAL = 0.02
_BITS = 8
"""Rows whose bits one byte holds, whether they are kept."""


class NgramClassifier(nn.Module):
    """Scores of classes from the mean of n-grams' rows; see `NgramSizes`.

    A piece's row is its id. The row of a longer n-gram is a polynomial hash of its ids, modulo the
    number of buckets: different n-grams may share a row. N-grams with a padding token are left out;
    those with the tokenizer's first and last token say that a text begins or ends. The sum is
    divided by the square root of the number of n-grams, so that long texts may be surer.

    The hash lies in the module, and so in its ONNX file: inputs are those of a transformer.
    """

    def __init__(self, sizes: NgramSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.rows = nn.Embedding(sizes.held, sizes.width or sizes.classes)
        nn.init.normal_(self.rows.weight, std=_INITIAL if sizes.layers else _INITIAL / 10)
        if sizes.kept is not None:
            self.register_buffer("keeps", torch.zeros(-(-sizes.rows // _BITS), dtype=torch.uint8))
        if sizes.layers:
            self.head: nn.Module = _perceptron(sizes)
        else:
            self.head = _Bias(sizes.classes)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return the scores (N, C).

        Parameters
        ----------
        input_ids, attention_mask : int64 (N, S).
        token_type_ids : isn't read; a pair's texts are told apart by the token between them.
        """
        rows, weights = self.ngrams(input_ids, attention_mask)
        if self.training and self.sizes.dropout:
            weights = functional.dropout(weights, self.sizes.dropout)
        total = torch.bmm(weights.unsqueeze(1), self.rows(rows)).squeeze(1)
        scores: Tensor = self.head(total)
        return scores

    def ngrams(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the row of each n-gram, int64 (N, L * S), and its weight, 0 where there is none.

        L is the number of lengths; the n-gram of a length that begins at each token has a place.
        """
        sizes = self.sizes
        length = input_ids.shape[1]
        ids = functional.pad(input_ids, (0, sizes.longest - 1))
        mask = functional.pad(attention_mask, (0, sizes.longest - 1))
        hashed, whole = ids[:, :length], mask[:, :length]
        rows, present = [], []
        for count in range(1, sizes.longest + 1):
            if count > 1:
                last = count - 1
                hashed = (hashed * _FACTOR + ids[:, last : last + length]) % _PRIME
                whole = whole * mask[:, last : last + length]
            if count >= sizes.shortest:
                row = hashed if count == 1 else hashed % sizes.buckets + sizes.first_bucket
                rows.append(row)
                present.append(whole)
        every, there = torch.cat(rows, dim=1), torch.cat(present, dim=1)
        if sizes.kept is not None:
            every = self._places()[every]
            there = there * (every > 0)
        weights = there.to(self.rows.weight.dtype)
        found = weights.sum(dim=1, keepdim=True).clamp(min=1)
        return every, weights / found.sqrt()

    def keep(self, rows: Tensor) -> None:
        """Keep the rows that are true of booleans (R,), as many as `NgramSizes.kept`; drop others.

        The kept ones have the places 1, 2, … of the embeddings, in their order.
        """
        bits = torch.zeros(len(self.get_buffer("keeps")) * _BITS, dtype=torch.int64)
        bits[: len(rows)] = rows.long()
        packed = (bits.reshape(-1, _BITS) * _powers()).sum(1)
        self.get_buffer("keeps").copy_(packed.to(torch.uint8))

    def _places(self) -> Tensor:
        """Return the place of each row in the embeddings, 0 for a dropped one.

        The file holds one bit for each row, and a runtime computes the places when it loads it.
        """
        packed = self.get_buffer("keeps").long().unsqueeze(1)
        bits = (torch.div(packed, _powers(), rounding_mode="trunc") % 2).reshape(-1)
        return bits.cumsum(0) * bits


def _powers() -> Tensor:
    return torch.tensor([2**bit for bit in range(_BITS)])


class _Bias(nn.Module):
    """Adds a number to each score."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, scores: Tensor) -> Tensor:
        return scores + self.bias


def _perceptron(sizes: NgramSizes) -> nn.Sequential:
    layers: list[nn.Module] = []
    for ins, outs in sizes.layers:
        layers += [nn.Linear(ins, outs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
