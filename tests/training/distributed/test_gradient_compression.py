import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from compress.training.distributed.gradient_compression import (
    LowRankGradients,
    NotFiniteError,
    bytes_per_step,
    kept_rank,
    low_rank,
)
from compress.training.distributed.power_sgd import hook_bytes, hook_rank
from compress.training.options import TrainingOptions


def generator():
    return torch.Generator().manual_seed(0)


@given(
    rows=st.integers(2, 40),
    columns=st.integers(2, 40),
    rank=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_a_matrix_of_no_more_rank_is_kept_exactly(rows, columns, rank, seed):
    rank = min(rank, rows, columns)
    torch.manual_seed(seed)
    matrix = torch.randn(rows, rank) @ torch.randn(rank, columns)
    found = low_rank(matrix, rank=rank, generator=generator())
    torch.testing.assert_close(found, matrix, atol=1e-3, rtol=1e-3)


@given(rows=st.integers(10, 40), columns=st.integers(10, 40), rank=st.integers(1, 5))
def test_the_approximation_is_nearly_the_best_of_its_rank(rows, columns, rank):
    torch.manual_seed(rows * columns)
    scale = torch.logspace(0, -2, min(rows, columns))
    left = torch.linalg.qr(torch.randn(rows, len(scale))).Q
    right = torch.linalg.qr(torch.randn(columns, len(scale))).Q
    matrix = left @ torch.diag(scale) @ right.T
    found = low_rank(matrix, rank=rank, generator=generator())
    best = scale[rank:].norm()
    assert torch.linalg.matrix_rank(found, rtol=1e-4) <= rank
    assert (matrix - found).norm() <= 1.5 * best
    # A projection: what it leaves out is orthogonal to what it keeps.
    assert abs((found * (matrix - found)).sum()) < 1e-4


def test_error_feedback_delays_but_loses_nothing():
    torch.manual_seed(0)
    module = nn.Linear(40, 30)
    compression = LowRankGradients(module.parameters(), ratio=0.1, seed=0)
    gradient, sent = torch.randn(30, 40), torch.zeros(30, 40)
    distances = []
    for step in range(1, 201):
        module.weight.grad, module.bias.grad = gradient.clone(), torch.ones(30)
        compression.apply()
        sent += module.weight.grad
        distances.append(((sent / step - gradient).norm() / gradient.norm()).item())
    assert torch.equal(module.bias.grad, torch.ones(30))
    assert distances[0] > 0.5
    assert distances[-1] < 0.1
    # What is owed stays bounded: the mean's distance falls as 1 / steps.
    assert distances[-1] * 200 < 1.5 * distances[99] * 100


def test_kernels_count_as_matrices_and_small_ones_are_left_alone():
    module = nn.Sequential(nn.Conv2d(8, 16, 3), nn.Linear(8, 4))
    compression = LowRankGradients(module.parameters(), ratio=0.25, seed=0)
    before = []
    for parameter in module.parameters():
        parameter.grad = torch.randn_like(parameter)
        before.append(parameter.grad.clone())
    compression.apply()
    kernel = module[0].weight.grad
    assert kernel.shape == (16, 8, 3, 3)
    assert torch.linalg.matrix_rank(kernel.flatten(1), rtol=1e-4) == 4
    assert torch.equal(module[1].weight.grad, before[2])
    assert torch.equal(module[0].bias.grad, before[1])


def test_a_gradient_that_is_not_finite_is_told():
    module = nn.Linear(40, 30)
    compression = LowRankGradients(module.parameters(), ratio=0.1, seed=0)
    module.weight.grad = torch.full((30, 40), float("nan"))
    with pytest.raises(NotFiniteError):
        compression.apply()


def test_bytes_are_those_of_the_factors():
    shapes = [torch.Size(shape) for shape in ((100, 50), (32, 16, 3, 3), (100,))]
    whole, cut = bytes_per_step(shapes, 0.1)
    assert whole == 4 * (5000 + 32 * 144 + 100)
    assert cut == 4 * (5 * 150 + 3 * (32 + 144) + 100)
    assert bytes_per_step(shapes, 1.0) == (whole, whole)
    assert kept_rank((100, 50), 1.0) is None
    rank = hook_rank(shapes, 0.1)
    assert rank == round(0.1 * (50 * 5000 + 32 * 32 * 144) / (5000 + 32 * 144))
    assert hook_bytes(shapes, rank)[0] == whole
    assert hook_bytes(shapes, 10**6) == (whole, whole)


def test_half_precision_with_scaling_is_refused():
    with pytest.raises(ValidationError, match="fp32 or bf16 with 'gradient_compression'"):
        TrainingOptions(precision="fp16", gradient_compression={"rank_ratio": 0.1})
