"""Vectors in blocks are those that were added."""

import numpy as np
import pytest

from compress.measurement.metrics import vectors
from compress.measurement.metrics.vectors import Vectors


@pytest.mark.parametrize("together", [1, 5, 100])
def test_blocks_decide_nothing(together, monkeypatch):
    monkeypatch.setattr(vectors, "_TOGETHER", together)
    whole = np.random.default_rng(0).normal(size=(23, 3)).astype(np.float32)
    held = Vectors()
    for start in range(0, 23, 4):
        held.add(whole[start : start + 4])
    places = np.array([22, 0, 7, 7, 4])
    np.testing.assert_array_equal(held.at(places), whole[places])
    np.testing.assert_allclose(held.products(whole[places]), whole[places] @ whole.T, rtol=1e-5)
