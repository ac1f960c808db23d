"""BM25 against values by hand, and what of it fits in a given time."""

import math
import pickle

import numpy as np
import pytest

from compress.errors import DataError
from compress.measurement.baseline.bm25 import BM25
from compress.measurement.baseline.clock import Clock
from compress.measurement.baseline.matcher import learn

DOCUMENTS = ["red boat red", "blue boat on a lake", "stone"]


def nothing(steps=1):
    """Take a step of progress."""


def of_both(matcher, weights, query):
    return (matcher.queries([query]) @ weights.T).toarray()[0]


def test_scores_by_hand():
    bm25 = BM25()
    weights = bm25.fit(DOCUMENTS)
    # "a" is no word, since it has one letter. Lengths 3, 4 and 1, mean 8 / 3.
    red, boat = math.log(1 + 2.5 / 1.5), math.log(1 + 1.5 / 2.5)
    norms = [1.5 * (0.25 + 0.75 * length / (8 / 3)) for length in (3, 4)]
    wanted = [
        red * 2 * 2.5 / (2 + norms[0]) + boat * 2.5 / (1 + norms[0]),
        boat * 2.5 / (1 + norms[1]),
        0,
    ]
    np.testing.assert_allclose(of_both(bm25, weights, "Red boat, unheard of"), wanted)
    again = bm25.documents(DOCUMENTS[1:])
    np.testing.assert_allclose(of_both(bm25, again, "red boat unheard"), wanted[1:])


def test_characters_find_what_words_do_not():
    bm25 = BM25("characters")
    weights = bm25.fit(DOCUMENTS)
    found = of_both(bm25, weights, "boats")
    assert found[0] > 0
    assert found[1] > 0
    assert found[2] == 0


def test_both_are_summed_and_a_pair_is_scored_as_in_the_ranking():
    matcher, weights = learn(DOCUMENTS, 3, whole=True, clock=Clock(50), advance=nothing)
    assert (matcher.name, matcher.learnt, matcher.notes) == ("BM25 of words and characters", 3, ())
    wanted = sum(
        of_both(part, part.fit(DOCUMENTS), "red boats")
        for part in map(BM25, ("words", "characters"))
    )
    np.testing.assert_allclose(of_both(matcher, weights, "red boats"), wanted)
    pairs = matcher.of_pairs(["red boats"] * 3, DOCUMENTS)
    np.testing.assert_allclose(pairs, wanted)
    assert matcher.size_bytes == len(pickle.dumps(matcher.parts)) > 100


def test_what_takes_too_long_is_left_out():
    many = [f"{text} {number}" for number, text in enumerate(DOCUMENTS * 400)]
    with pytest.raises(DataError, match="1,200 documents would take longer than 1e-07 seconds"):
        learn(many, 1200, whole=True, clock=Clock(1e-7), advance=nothing)
    steps = []
    matcher, weights = learn(
        many, 1200, whole=False, clock=Clock(1e-7), advance=lambda count=1: steps.append(count)
    )
    assert sum(steps) == 2
    assert weights.shape[0] == matcher.learnt == 1
    assert matcher.name == "BM25 of words"
    assert matcher.notes == (
        "BM25: learnt from 1 of 1,200 train documents, to end in 1e-07 seconds",
        "BM25: characters left out, to end in 1e-07 seconds",
    )
