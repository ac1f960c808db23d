"""Formulas of multiply-accumulates, each worked by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compress.measurement.macs import formulas

SIZES = {"a": 2, "b": 3, "c": 4, "d": 5}


@pytest.mark.parametrize(
    ("found", "by_hand"),
    [
        (formulas.matmul_macs((2, 5, 7), 3), 2 * 5 * 7 * 3),
        (formulas.matmul_macs((), 6), 6),
        # a stride of 2 leaves 4 x 4 places; each of 6 channels reads 2 of 4, 3 x 3 wide
        (formulas.convolution((1, 6, 4, 4), (6, 2, 3, 3)), 16 * 6 * 2 * 9),
        (formulas.convolution((1, 8, 4, 4), (8, 1, 3, 3)), 16 * 8 * 9),
        # each of 4 channels at 3 x 3 places goes to 5 channels of a patch of 2 x 2
        (formulas.transposed_convolution((1, 4, 3, 3), (4, 5, 2, 2)), 9 * 4 * 5 * 4),
        (formulas.attention((1, 5, 4), (1, 5, 6), 9), 5 * 9 * 4 + 5 * 9 * 6),
        # 4 gates of an LSTM from 4 to 5, 3 of a GRU, 1 of a RNN; two directions are stacked
        (formulas.recurrence(12, (20, 4), (20, 5)), 12 * 4 * 5 * (4 + 5)),
        (formulas.recurrence(12, (2, 15, 4), (2, 15, 5)), 12 * 2 * 3 * 5 * (4 + 5)),
        (formulas.recurrence(12, (5, 4), (5, 5)), 12 * 5 * (4 + 5)),
        (formulas.recurrence(12, (20, 4), (20, 3), (3, 5)), 12 * (20 * (4 + 3) + 3 * 5)),
        # 2 rows: 7 matrices of 4 x 5, then 7 rows of 5
        (formulas.bilinear(2, (7, 4, 5)), 2 * (7 * 4 * 5 + 7 * 5)),
        (formulas.einsum("bqd,bkd->bqk", (2, 3, 4), (2, 5, 4)), 2 * 3 * 5 * 4),
        (formulas.einsum("...ij,jk", (6, 2, 3), (3, 7)), 6 * 2 * 3 * 7),
        (formulas.einsum("bd,bd->bd", (2, 4), (2, 4)), 0),
        (formulas.einsum("ii->i", (3, 3)), 0),
        # d of the first alone is summed before
        (formulas.einsum("bsd,bt->st", (2, 3, 9), (2, 4)), 2 * 3 * 4),
        (formulas.einsum("ab,bc,cd->ad", (2, 3), (3, 4), (4, 5)), 2 * 3 * 4 + 2 * 4 * 5),
    ],
)
def test_by_hand(found, by_hand):
    assert found == by_hand


@given(data=st.data())
def test_an_einsum_of_two_counts_what_numpy_would_add_up(data):
    """Every term of the naive sum, once what only one operand has is summed."""
    left, right = (data.draw(st.lists(st.sampled_from("abcd"), unique=True)) for _ in range(2))
    output = data.draw(st.lists(st.sampled_from(sorted({*left, *right}) or ["a"]), unique=True))
    output = [label for label in output if label in {*left, *right}]
    shapes = [tuple(SIZES[label] for label in each) for each in (left, right)]
    equation = f"{''.join(left)},{''.join(right)}->{''.join(output)}"
    shared = {*left} & {*right}
    wanted = 0
    if shared - {*output}:
        wanted = 1
        for label in shared | {*output}:
            wanted *= SIZES[label]
    assert formulas.einsum(equation, *shapes) == wanted
    assert torch.einsum(equation, *map(torch.ones, shapes)).dim() == len(output)
