"""Linear classifiers end in time, and know every class."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from compress.core.progress import Silent
from compress.measurement.baseline.clock import Clock
from compress.measurement.baseline.features import texts_within
from compress.measurement.baseline.linear import softmax_regression, support_vectors


@pytest.fixture
def advance():
    with Silent().track("", 1) as steps:
        yield steps


def clusters(count, *, classes=3, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    centres = np.eye(classes, 5) * 2
    features = centres[labels] + random.normal(size=(count, 5)) * 0.3
    return features.astype(np.float32), labels


def wanted(labels, classes=3):
    return labels[:, None] == np.arange(classes)


def right(model, features, labels):
    return float((model(features).argmax(1) == labels).mean())


def test_all_samples_are_trained_on_if_there_is_time(advance):
    features, labels = clusters(5000)
    model = support_vectors(features, wanted(labels), Clock(60), advance)
    assert model.rows == 5000
    assert right(model, features, labels) > 0.99


def test_without_time_the_trial_is_the_result(advance):
    features, labels = clusters(5000)
    model = support_vectors(features, wanted(labels), Clock(1e-9), advance)
    assert model.rows == 4000
    assert right(model, features, labels) > 0.99


class Ending(Clock):
    """A clock that has time left until it was asked a number of times."""

    def __init__(self, looks):
        super().__init__(1e6)
        self.looks = looks

    @property
    def left(self):
        self.looks -= 1
        return 1e6 if self.looks >= 0 else -1.0


def test_a_training_that_takes_longer_than_expected_is_given_up(advance):
    features, labels = clusters(5000)
    model = support_vectors(features, wanted(labels), Ending(2), advance)
    assert model.rows == 4000


def test_logistic_regression_is_scikit_learns(advance):
    features, labels = clusters(300)
    model = softmax_regression(features, labels, classes=3, clock=Clock(60), advance=advance)
    other = LogisticRegression(max_iter=1000).fit(features, labels)
    assert np.allclose(model.weights.T, other.coef_, atol=0.05)
    assert right(model, features, labels) == other.score(features, labels)


def test_two_classes_have_the_difference_of_their_scores(advance):
    features, labels = clusters(300, classes=2)
    model = softmax_regression(features, labels, classes=2, clock=Clock(60), advance=advance)
    other = LogisticRegression(max_iter=1000).fit(features, labels)
    scores = model(features)
    assert np.allclose(scores[:, 1] - scores[:, 0], other.decision_function(features), atol=0.2)


def test_steps_end_with_the_clock():
    features, labels = clusters(300)
    steps = []
    model = softmax_regression(features, labels, classes=3, clock=Clock(1e-9), advance=steps.append)
    assert steps == [20], "the first look was the last"
    assert model.rows == 300


@pytest.mark.parametrize("kind", ["svm", "softmax"])
def test_a_class_that_no_sample_has_is_never_predicted(kind, advance):
    features, labels = clusters(200)
    if kind == "svm":
        model = support_vectors(features, wanted(labels, 5), Clock(60), advance)
    else:
        model = softmax_regression(features, labels, classes=5, clock=Clock(60), advance=advance)
    scores = model(features)
    assert np.isfinite(scores).all()
    assert scores.shape == (200, 5)
    assert set(scores.argmax(1)) == {0, 1, 2}


def test_one_class_alone_is_always_predicted(advance):
    features, _ = clusters(20)
    labels = np.ones(20, np.int64)
    model = softmax_regression(features, labels, classes=3, clock=Clock(60), advance=advance)
    assert (model(features).argmax(1) == 1).all()


def test_texts_are_as_many_as_the_time_allows():
    texts = ["some words of a text"] * 3000
    assert texts_within([texts], 1000.0) == 3000
    assert texts_within([texts], 0.0) == 0
    some = texts_within([texts], 0.02)
    assert 0 < some < 3000


def test_a_clock_counts_work_and_not_waiting():
    import time

    clock = Clock(10)
    time.sleep(0.2)
    assert clock.seconds < 0.1
    assert clock.left > 9.9
