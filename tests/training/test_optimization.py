import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from compress.training.optimization import learning_rate_factor, make_optimizer
from compress.training.options import TrainingOptions

SCHEDULES = ("linear", "cosine", "constant")


@given(
    total=st.integers(1, 300),
    warmup=st.floats(0, 0.99),
    schedule=st.sampled_from(SCHEDULES),
)
def test_schedules_rise_to_the_peak_then_never_rise(total, warmup, schedule):
    factors = [
        learning_rate_factor(step, total=total, warmup=warmup, schedule=schedule)
        for step in range(total)
    ]
    assert all(0 < factor <= 1 for factor in factors)
    rising = math.ceil(warmup * total)
    assert factors[:rising] == sorted(factors[:rising])
    assert factors[rising:] == sorted(factors[rising:], reverse=True)
    assert max(factors) == 1


def test_cosine_is_half_way_down_at_half_time():
    assert learning_rate_factor(60, total=100, warmup=0.2, schedule="cosine") == pytest.approx(0.5)
    assert learning_rate_factor(60, total=100, warmup=0.2, schedule="constant") == 1


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_biases_and_norms_are_not_decayed(name):
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 3), nn.LayerNorm(3))
    module[2].weight.requires_grad_(False)
    optimizer = make_optimizer(module, TrainingOptions(optimizer=name, weight_decay=0.1))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decay.pop(id(module[0].weight)) == 0.1
    assert set(decay.values()) == {0.0}
    assert id(module[2].weight) not in decay
    if name == "sgd":
        assert optimizer.defaults["momentum"] == 0.9
        assert optimizer.defaults["nesterov"]


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"warmup": 1},
        {"precision": "int8"},
        {"max_grad_norm": -1},
        {"augment": {"crop": -1}},
        {"epoch": 3},
    ],
)
def test_bad_options_are_refused(values):
    with pytest.raises(ValidationError):
        TrainingOptions(**values)
