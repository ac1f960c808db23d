import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from compress.errors import StageError
from compress.training.augmentation import augment_images
from compress.training.optimization import learning_rate_factor, make_optimizer
from compress.training.options import Augment, TrainingOptions

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


def changed(images, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return augment_images(images, augment=Augment(**options), generator=generator)


def test_flips_mirror_about_half_of_the_images():
    images = torch.rand(400, 3, 4, 5)
    flipped = changed(images, flip=True)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    kept = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 150 < mirrored.sum() < 250


@given(crop=st.integers(1, 3), height=st.integers(4, 7), width=st.integers(4, 7))
def test_crops_equal_padding_with_the_border_and_cropping(crop, height, width):
    images = torch.rand(16, 2, height, width)
    shifted = changed(images, crop=crop)
    padded = nn.functional.pad(images, (crop,) * 4, mode="replicate")
    for one, wide in zip(shifted, padded, strict=True):
        crops = [
            wide[:, top : top + height, left : left + width]
            for top in range(2 * crop + 1)
            for left in range(2 * crop + 1)
        ]
        assert any(torch.equal(one, candidate) for candidate in crops)


def test_augmentation_draws_for_each_sample_from_its_generator():
    images = torch.rand(1, 1, 8, 8).expand(64, 1, 8, 8)
    first = changed(images, crop=2, flip=True)
    assert torch.equal(first, changed(images, crop=2, flip=True))
    assert not torch.equal(first, changed(images, seed=1, crop=2, flip=True))
    assert len(first.flatten(1).unique(dim=0)) > 20
    assert torch.equal(changed(images), images)


def test_augmentation_refuses_what_is_not_a_batch_of_images():
    with pytest.raises(StageError, match=r"needs images of shape \(N, C, H, W\)\. Got \(2, 8\)"):
        changed(torch.rand(2, 8), flip=True)


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
