import numpy as np
import pytest
import torch

from compress.errors import StageError
from compress.quantization.calibration.samples import samples
from tests.quantization.calibration.texts import collate, padded


def test_samples_that_do_not_fit_together_raise():
    with pytest.raises(StageError, match="don't hold equally many samples"):
        list(samples([{"a": torch.zeros(2), "b": torch.zeros(3)}], ["a", "b"]))
    batch = collate([padded(torch.ones(3, dtype=torch.long)), padded(torch.ones(0), after=3)])
    with pytest.raises(StageError, match="has no token"):
        list(samples([batch], ["input_ids"]))


def test_only_what_the_mask_covers_is_cut():
    batch = {
        "ids": np.arange(10).reshape(2, 5),
        "embedded": np.zeros((2, 5, 3)),
        "keys": np.zeros((2, 5, 2, 3)),
        "scores": np.zeros((2, 4)),
        "attention_mask": np.array([[0, 1, 0, 1, 0], [1, 1, 1, 1, 1]]),
    }
    first, second = samples([batch], ["ids", "embedded", "keys", "scores"])
    assert first["ids"].tolist() == [[1, 2, 3]]
    shapes = [array.shape for array in first.values()]
    assert shapes == [(1, 3), (1, 3, 3), (1, 5, 2, 3), (1, 4)]
    assert second["ids"].tolist() == [[5, 6, 7, 8, 9]]
