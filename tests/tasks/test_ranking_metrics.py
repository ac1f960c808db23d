"""Metrics of rankings, against values by hand, all orders of ties, and scikit-learn."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from compress.tasks.ranking_metrics import (
    average_precision,
    ndcg,
    placed,
    recall,
    reciprocal_rank,
)

METRICS = [reciprocal_rank, recall, ndcg]
RANKINGS = st.integers(2, 6).flatmap(
    lambda size: st.tuples(
        st.lists(st.integers(0, 3), min_size=size, max_size=size),
        st.lists(st.integers(0, 2), min_size=size, max_size=size),
        st.integers(1, 7),
    )
)


def of(scores, gains):
    return placed(np.asarray(scores, float), np.asarray(gains, float))


def in_order(gains, metric, most):
    """The metric of documents in a plain order, from its definition."""
    ranks = [rank for rank, gain in enumerate(gains, 1) if gain > 0]
    if metric is reciprocal_rank:
        return 1 / ranks[0] if ranks[0] <= most else 0.0
    if metric is recall:
        return sum(rank <= most for rank in ranks) / len(ranks)

    def dcg(ordered):
        return sum(gain / np.log2(rank + 1) for rank, gain in enumerate(ordered[:most], 1))

    return dcg(gains) / dcg(sorted(gains, reverse=True))


def test_by_hand():
    found = of([0.9, 0.1, 0.5, 0.3], [0, 1, 0, 2])
    assert reciprocal_rank(found, most=10) == pytest.approx(1 / 3)
    assert reciprocal_rank(found, most=2) == 0
    assert recall(found, most=3) == 0.5
    assert ndcg(found, most=10) == pytest.approx(
        (2 / np.log2(4) + 1 / np.log2(5)) / (2 + 1 / np.log2(3))
    )


@pytest.mark.parametrize("metric", METRICS)
def test_without_a_relevant_document_there_is_no_value(metric):
    assert np.isnan(metric(of([0.3, 0.2], [0, 0]), most=5))


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_order_is_one_and_all_alike_is_less(metric):
    gains = [2, 1] + [0] * 8
    assert metric(of(range(10, 0, -1), gains), most=2) == pytest.approx(1)
    assert metric(of([0] * 10, gains), most=2) < 0.3


@pytest.mark.parametrize("metric", METRICS)
@given(case=RANKINGS)
def test_ties_count_as_all_their_orders(metric, case):
    scores, gains, most = case
    found = of(scores, gains)
    if not any(gains):
        assert np.isnan(metric(found, most=most))
        return
    orders = [
        in_order([gains[at] for at in order], metric, most)
        for order in permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    assert metric(found, most=most) == pytest.approx(np.mean(orders))


@given(case=RANKINGS)
def test_ndcg_is_scikit_learns(case):
    scores, gains, most = case
    if any(gains):
        wanted = ndcg_score([gains], [scores], k=most)
        assert ndcg(of(scores, gains), most=most) == pytest.approx(wanted)


def precision_by_hand(gains):
    """Average precision of documents in a plain order, from its definition."""
    ranks = [rank for rank, gain in enumerate(gains, 1) if gain > 0]
    return np.mean([found / rank for found, rank in enumerate(ranks, 1)])


@given(case=RANKINGS)
def test_average_precision_counts_all_orders_of_ties(case):
    scores, gains, _ = case
    if not any(gains):
        assert np.isnan(average_precision(of(scores, gains)))
        return
    orders = [
        precision_by_hand([gains[at] for at in order])
        for order in permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    assert average_precision(of(scores, gains)) == pytest.approx(np.mean(orders))


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_scikit_learns_where_nothing_is_tied(seed):
    draw = np.random.default_rng(seed)
    scores, relevant = draw.normal(size=40), draw.random(40) < 0.2
    wanted = average_precision_score(relevant, scores)
    assert average_precision(of(scores, relevant)) == pytest.approx(wanted)
