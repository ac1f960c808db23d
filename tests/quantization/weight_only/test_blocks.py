import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime.capi._pybind_state import quantize_matmul_4bits, quantize_matmul_8bits

from compress.quantization.weight_only.blocks import pack, quantize_blocks


def weights(seed, rows, columns):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_without_search_it_is_what_onnxruntime_makes(bits, symmetric):
    rows, columns, size = 6, 128, 32
    weight = weights(0, rows, columns)
    got = quantize_blocks(weight, bits=bits, block_size=size, symmetric=symmetric, search=False)
    blob = size * bits // 8
    levels = np.zeros((rows, columns // size, blob), np.uint8)
    scales = np.zeros((rows, columns // size), np.float32)
    zeros = np.zeros((rows, columns // size * bits // 8), np.uint8)
    theirs = quantize_matmul_4bits if bits == 4 else quantize_matmul_8bits
    theirs(levels, np.ascontiguousarray(weight.T), scales, zeros, size, rows, columns, symmetric)
    np.testing.assert_allclose(got.scales.ravel(), scales.ravel(), rtol=1e-6)
    assert (pack(got.levels, bits).ravel() == levels.ravel()).mean() > 0.999
    if not symmetric:
        np.testing.assert_array_equal(pack(got.zeros, bits).ravel(), zeros.ravel())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 5),
    st.integers(1, 70),
    st.sampled_from([4, 8]),
    st.booleans(),
)
def test_no_weight_moves_by_more_than_a_step_and_the_search_never_loses(
    seed, rows, columns, bits, symmetric
):
    weight = weights(seed, rows, columns)
    options = {"bits": bits, "block_size": 16, "symmetric": symmetric}
    plain = quantize_blocks(weight, search=False, **options)
    steps = np.repeat(np.abs(plain.scales), 16, axis=1)[:, :columns]
    assert (np.abs(plain.weight() - weight) <= steps * 1.001 + 1e-7).all()
    searched = quantize_blocks(weight, **options)
    error = [((found.weight() - weight) ** 2).sum() for found in (searched, plain)]
    assert error[0] <= error[1] * 1.0001 + 1e-12
    assert searched.weight().shape == weight.shape


def test_blocks_of_zeros_and_of_one_number_stay_exact():
    weight = np.zeros((2, 32), np.float32)
    weight[1] = -0.75
    for symmetric in (True, False):
        found = quantize_blocks(weight, bits=4, block_size=32, symmetric=symmetric)
        np.testing.assert_allclose(found.weight(), weight, atol=1e-7)


def test_the_search_helps_where_one_weight_is_far_out():
    weight = weights(0, 64, 32)
    weight[:, 0] = 4.5
    options = {"bits": 4, "block_size": 32, "symmetric": True}
    error = [
        ((quantize_blocks(weight, search=search, **options).weight() - weight) ** 2).mean()
        for search in (True, False)
    ]
    assert error[0] < 0.97 * error[1]


def test_two_levels_share_a_byte_the_first_in_its_lower_half():
    levels = np.array([[1, 2, 15]], np.uint8)
    assert pack(levels, 4).tolist() == [[0x21, 0x0F]]
    assert pack(levels, 8) is levels
