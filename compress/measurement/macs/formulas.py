"""Formulas of multiply-accumulates: pure functions of shapes, for graphs and modules alike.

Sums of matmuls are counted: convolutions, matmuls, the two products of attention, and
recurrent layers. Biases, normalisations, pooling and element-wise work aren't.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod

Shape = tuple[int, ...]
_LABELS = "…"  # the first of the characters that stand for an ellipsis's dimensions


def matmul_macs(output: Shape, terms: int) -> int:
    """Multiply-accumulates of a matmul: each output number is a sum of `terms` matmuls.

    >>> matmul_macs((2, 5, 7), 3)  # (2, 5, 3) by (3, 7)
    210
    """
    return prod(output) * terms


def convolution(output: Shape, weight: Shape) -> int:
    """Multiply-accumulates of a convolution: output (N, C, …), weight (C, C_in / groups, …).

    >>> convolution((1, 6, 4, 4), (6, 2, 3, 3))
    1728
    """
    return prod(output) * prod(weight[1:])


def transposed_convolution(values: Shape, weight: Shape) -> int:
    """Multiply-accumulates of a transposed convolution.

    The input is (N, C_in, …), the weight (C_in, C / groups, …).

    >>> transposed_convolution((1, 4, 3, 3), (4, 5, 2, 2))
    720
    """
    return prod(values) * prod(weight[1:])


def attention(query: Shape, output: Shape, length: int) -> int:
    """Multiply-accumulates of attention: queries by keys, and scores by values.

    Masked and future positions count too.

    Parameters
    ----------
    query : (…, S, D), or (…, S, heads * D).
    output : the same with the values' width.
    length : number of keys.

    >>> attention((1, 5, 4), (1, 5, 6), 9)
    450
    """
    return (prod(query) + prod(output)) * length


def recurrence(positions: int, *weights: Shape) -> int:
    """Multiply-accumulates of an LSTM, GRU or RNN.

    Every matrix multiplies once at every position, in each direction.

    Parameters
    ----------
    positions : number of positions of all samples, N * S.
    weights : weights of inputs, hidden states and projections; directions may be stacked.

    >>> recurrence(12, (20, 4), (20, 5))  # an LSTM from 4 to 5
    2160
    """
    return positions * sum(map(prod, weights))


def bilinear(positions: int, weight: Shape) -> int:
    """Multiply-accumulates of the first input by the weight (C, left, right), then the second.

    >>> bilinear(2, (7, 4, 5))
    350
    """
    return positions * (prod(weight) + weight[0] * weight[2])


def einsum(equation: str, *operands: Shape) -> int:
    """Multiply-accumulates of an einsum that multiplies its operands from left to right.

    An axis that is only summed is summed first.

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
    """Labels of every operand and of the output, and the size of each label."""
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
