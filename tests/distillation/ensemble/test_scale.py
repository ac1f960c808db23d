import numpy as np
import pytest
from scipy.special import expit, softmax

from compress.distillation.ensemble.scale import fitted_scale


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_the_factor_that_made_the_labels_is_found(factor):
    random = np.random.default_rng(0)
    scores = random.normal(size=(20_000, 3)) / factor
    chances = softmax(factor * scores, axis=1)
    labels = (random.random((20_000, 1)) > chances.cumsum(1)).sum(1).clip(max=2)
    assert fitted_scale(scores, labels) == pytest.approx(factor, rel=0.05)


def test_sets_of_classes_have_a_factor_too():
    random = np.random.default_rng(0)
    scores = random.normal(size=(20_000, 3))
    labels = (random.random((20_000, 3)) < expit(2.0 * scores)).astype(np.float32)
    assert fitted_scale(scores, labels) == pytest.approx(2.0, rel=0.05)


def test_scores_that_are_always_right_have_a_large_one():
    assert 20 < fitted_scale(np.eye(3), np.arange(3)) <= np.exp(5.0)
