"""The sizes of an n-gram classifier, and its number of parameters. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class NgramSizes:
    """The sizes of an `NgramClassifier`.

    Attributes
    ----------
    vocabulary : number of the tokenizer's ids; each has a row of its own.
    shortest, longest : numbers of pieces of the n-grams, 1 <= shortest <= longest.
    buckets : rows that all n-grams of two and more pieces share.
    classes : number of scores.
    width : numbers of a row; None: a row holds the scores of the classes themselves.
    hidden : neurons of each layer between the mean of the rows and the scores.
    dropout : fraction of the n-grams that are left out while training.
    kept : number of rows that are kept of all; None: all.
    """

    vocabulary: int
    shortest: int
    longest: int
    buckets: int
    classes: int
    width: int | None = None
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    kept: int | None = None

    @property
    def rows(self) -> int:
        """Number of rows, dropped ones included: pieces first, then buckets."""
        return self.first_bucket + (self.buckets if self.longest > 1 else 0)

    @property
    def held(self) -> int:
        """Number of rows of the embeddings; the first is that of all dropped ones, if there are."""
        return self.rows if self.kept is None else self.kept + 1

    @property
    def first_bucket(self) -> int:
        """The row of the first bucket."""
        return self.vocabulary if self.shortest == 1 else 0

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of each linear layer; none if rows are scores."""
        if self.width is None:
            return ()
        return tuple(pairwise((self.width, *self.hidden, self.classes)))

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        table = self.held * (self.width or self.classes)
        head = sum(ins * outs + outs for ins, outs in self.layers)
        return table + (head or self.classes)
