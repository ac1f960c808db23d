"""The linear rival scores samples that it wasn't trained on."""

import numpy as np
import pytest

from compress.core.batch import IGNORED
from compress.errors import DataError
from compress.measurement.baseline.folds import FOLDS, out_of_fold
from compress.measurement.baseline.inputs import inputs_of
from compress.measurement.baseline.rival import scores_of, train_rival
from compress.tasks.task import TASKS
from tests.measurement.baseline.test_rival import dataset, sentences

TASK = TASKS["text-classification"]


def inputs(texts, labels):
    return inputs_of(dataset({"text": texts}, labels), TASK)


def by_heart():
    """Texts of one word each, all different: only a model that has seen one knows its class."""
    return [f"word{number}" for number in range(40)], [number % 2 for number in range(40)]


def right(scores, labels):
    return float((scores.argmax(1) == np.asarray(labels)).mean())


def test_no_sample_is_scored_by_a_rival_that_has_seen_it():
    texts, labels = by_heart()
    given = inputs(texts, labels)
    whole = scores_of(
        train_rival(given, classes=2), given, split="train", positions=np.arange(len(texts))
    )
    assert right(whole, labels) == 1.0
    assert right(out_of_fold(given, classes=2).scores, labels) < 0.8


def test_what_can_be_learnt_of_others_is():
    texts, labels = sentences(60)
    found = out_of_fold(inputs(texts, labels), classes=3)
    assert right(found.scores, labels) > 0.9
    assert (found.name, len(found.known), found.notes) == ("tf-idf + linear SVM", len(texts), ())


def test_the_same_seed_gives_the_same_scores():
    texts, labels = sentences(30)
    one, two = (out_of_fold(inputs(texts, labels), classes=3, seed=1).scores for _ in range(2))
    assert (one == two).all()


def test_samples_without_a_label_have_the_mean_of_all_rivals():
    texts, labels = sentences(60)
    hidden = [IGNORED if number < 5 else label for number, label in enumerate(labels)]
    found = out_of_fold(inputs(texts, hidden), classes=3)
    assert set(found.known) == set(range(5, len(texts)))
    assert right(found.scores[:5], labels[:5]) == 1.0


def test_fewer_labels_than_folds_are_too_few():
    labels = [0, 1, 0, *[IGNORED] * 9]
    with pytest.raises(DataError, match=f"needs {FOLDS} samples with a label. Got 3"):
        out_of_fold(inputs([f"text {number}" for number in range(12)], labels), classes=2)
