"""The grids, compared with what onnxruntime's quantizer writes."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compress.onnx_graph.files import load_graph
from compress.quantization.grid import activation_grid, weight_levels, weight_scale, weight_zero
from compress.quantization.integers import Integers
from compress.quantization.onnx_torch.training import with_room_for_bias
from compress.quantization.selection import select
from compress.quantization.static import quantize_static
from tests.quantization.onnx_torch.models import tensors_of

ALL = [
    Integers(activations, weights, reduced)
    for activations in ("uint8", "int8")
    for weights in ("int8", "uint8")
    for reduced in (False, True)
]


def product(weight, bias, path):
    """x @ weight.T + bias as a file."""
    value = helper.make_tensor_value_info
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="product", transB=1)
    graph = helper.make_graph(
        [node],
        "g",
        [value("x", TensorProto.FLOAT, ["n", weight.shape[1]])],
        [value("y", TensorProto.FLOAT, ["n", weight.shape[0]])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def written(weight, bias, bounds, integers, folder, *, per_channel=True):
    """The initialisers that the quantizer writes for a product."""
    source = product(weight, bias, folder / "float.onnx")
    path = quantize_static(
        source,
        path=folder / "int8.onnx",
        selection=select(load_graph(source), method="static"),
        ranges={"x": bounds, "y": (-3.0, 5.0)},
        integers=integers,
        per_channel=per_channel,
    )
    return tensors_of(path)


@pytest.mark.parametrize("integers", ALL, ids=str)
@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_get_the_quantizers_scales(tmp_path, integers, per_channel):
    random = np.random.default_rng(0)
    weight = (random.standard_normal((5, 7)) * 10.0 ** random.integers(-6, 4, (5, 1))).astype("f4")
    weight[2] = 0
    weight[3] = 1e-42
    found = written(
        weight, np.zeros(5, "f4"), (0.0, 1.0), integers, tmp_path, per_channel=per_channel
    )
    scale = weight_scale(weight, axis=0 if per_channel else None, integers=integers)
    assert scale.dtype == np.float32
    assert np.array_equal(scale.reshape(-1), found["w_scale"].reshape(-1))
    alive = scale.reshape(-1) != 1
    zeros = np.broadcast_to(found["w_zero_point"], scale.reshape(-1).shape)
    assert set(zeros[alive].tolist()) == {weight_zero(integers)}
    steps = found["w_quantized"].astype(int) - zeros.reshape(-1, 1)
    assert np.abs(steps).max() in (weight_levels(integers) // 2, weight_levels(integers) // 2 + 1)


@pytest.mark.parametrize("integers", ALL, ids=str)
@pytest.mark.parametrize(
    "bounds", [(0.0, 6.0), (-1.3, 2.7), (-4.0, -1.0), (0.5, 0.7), (0.0, 0.0), (-1e-3, 1e5)]
)
def test_activations_get_the_quantizers_grid(tmp_path, integers, bounds):
    weight = np.ones((2, 3), dtype="f4")
    found = written(weight, np.zeros(2, "f4"), bounds, integers, tmp_path)
    scale, zero = activation_grid(bounds, integers=integers)
    assert (scale, zero) == (found["x_scale"], found["x_zero_point"])


def test_a_bias_too_large_for_int32_makes_the_weights_scale_larger(tmp_path):
    weight = np.array([[1e-9, -3e-9], [1.0, 2.0]], dtype="f4")
    bias = np.array([7.0, 7.0], dtype="f4")
    found = written(weight, bias, (0.0, 1.0), Integers(), tmp_path)
    plain = weight_scale(weight, axis=0, integers=Integers())
    scale = with_room_for_bias(
        torch.from_numpy(plain),
        bias=torch.from_numpy(bias),
        input_scale=torch.from_numpy(found["x_scale"].copy()),
    )
    assert np.array_equal(scale.numpy(), found["w_scale"])
    assert scale[0] > 10 * plain[0]
    assert scale[1] == plain[1]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([i for i in ALL if i.weights == "int8"]))
def test_a_weight_on_its_grid_stays_there(seed, integers):
    random = np.random.default_rng(seed)
    weight = (random.standard_normal((3, 50)) * random.uniform(1e-4, 1e3, (3, 1))).astype("f4")
    scale = weight_scale(weight, axis=0, integers=integers)[:, None]
    steps = np.round(weight / scale)
    again = steps.astype("f4") * scale
    new_scale = weight_scale(again, axis=0, integers=integers)[:, None]
    assert np.array_equal(np.round(again / new_scale), steps)
    assert np.allclose(new_scale, scale, rtol=2e-7, atol=0)
