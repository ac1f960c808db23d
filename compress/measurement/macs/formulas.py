"""What counts as multiply-accumulates: pure functions of shapes, for graphs and modules alike.

A product that sums is counted: convolutions, matrix products, attention's two, recurrent layers.
Biases, normalisations, pooling and element-wise work are not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod

Shape = tuple[int, ...]
_LABELS = "…"  # the first of the characters that stand for an ellipsis's dimensions


def matrix_product(output: Shape, terms: int) -> int:
    """Each number of the output is a sum of so many products.

    >>> matrix_product((2, 5, 7), 3)  # (2, 5, 3) by (3, 7)
    210
    """
    return prod(output) * terms


def convolution(output: Shape, weight: Shape) -> int:
    """Output (N, C, …), weight (C, C_in / groups, …).

    >>> convolution((1, 6, 4, 4), (6, 2, 3, 3))
    1728
    """
    return prod(output) * prod(weight[1:])


def transposed_convolution(values: Shape, weight: Shape) -> int:
    """Input (N, C_in, …), weight (C_in, C / groups, …).

    >>> transposed_convolution((1, 4, 3, 3), (4, 5, 2, 2))
    720
    """
    return prod(values) * prod(weight[1:])


def attention(query: Shape, output: Shape, length: int) -> int:
    """Queries by keys, and scores by values; masks and causality spare nothing.

    Parameters
    ----------
    query : (…, S, D), or (…, S, heads * D).
    output : the same with the values' width.
    length : how many keys there are.

    >>> attention((1, 5, 4), (1, 5, 6), 9)
    450
    """
    return (prod(query) + prod(output)) * length


def recurrence(positions: int, *weights: Shape) -> int:
    """Every matrix of an LSTM, GRU or RNN multiplies once at every position, in each direction.

    Parameters
    ----------
    positions : of all samples, N * S.
    weights : of inputs, hidden states and projections; those of several directions may be stacked.

    >>> recurrence(12, (20, 4), (20, 5))  # an LSTM from 4 to 5
    2160
    """
    return positions * sum(map(prod, weights))


def bilinear(positions: int, weight: Shape) -> int:
    """The first input by the weight (C, left, right), then the second by what came of it.

    >>> bilinear(2, (7, 4, 5))
    350
    """
    return positions * (prod(weight) + weight[0] * weight[2])


def einsum(equation: str, *operands: Shape) -> int:
    """Operands are multiplied one after another, from the left; what is only summed comes first.

    >>> einsum("bqd,bkd->bqk", (2, 3, 4), (2, 5, 4))
    120
    >>> einsum("bd,bd->bd", (2, 4), (2, 4))
    0
    """
    terms, output, sizes = _parsed(equation, operands)
    total = 0
    left = set(terms[0])
    for number, term in enumerate(terms[1:], start=2):
        right = set(term)
        kept = set(output).union(*terms[number:])
        alone = (left ^ right) - kept
        if (left & right) - kept:
            total += prod(sizes[label] for label in (left | right) - alone)
        left = (left | right) & kept
    return total


def _parsed(
    equation: str, operands: Sequence[Shape]
) -> tuple[list[list[str]], list[str], dict[str, int]]:
    """Labels of every operand and of the output, and their sizes."""
    given, arrow, made = equation.replace(" ", "").partition("->")
    terms: list[list[str]] = []
    sizes: dict[str, int] = {}
    for text, shape in zip(given.split(","), operands, strict=True):
        before, dots, after = text.partition("...")
        extra = len(shape) - len(before) - len(after) if dots else 0
        labels = [*before, *reversed([_LABELS * (n + 1) for n in range(extra)]), *after]
        terms.append(labels)
        for label, size in zip(labels, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    ellipsis = sorted({x for term in terms for x in term if x[0] == _LABELS}, key=len, reverse=True)
    if not arrow:
        counts = Counter(label for term in terms for label in term)
        single = sorted(x for x in counts if counts[x] == 1 and x[0] != _LABELS)
        return terms, [*ellipsis, *single], sizes
    before, dots, after = made.partition("...")
    return terms, [*before, *(ellipsis if dots else ()), *after], sizes
