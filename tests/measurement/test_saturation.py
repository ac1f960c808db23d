"""VPMADDUBSW's 16-bit sums in numpy, and which files could meet them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper

from compress.measurement.saturation import NARROW, can_saturate

SIZE = 32


def vpmaddubsw(activations, weights):
    """(N,) uint8 and int8 to (N / 2,) int16: sums of two neighbouring products, clipped."""
    products = activations.astype(np.int32) * weights.astype(np.int32)
    return np.clip(products.reshape(-1, 2).sum(-1), -(2**15), 2**15 - 1)


def vpdpbusd(activations, weights):
    """The same in 32 bits, as VNNI adds them."""
    return (activations.astype(np.int32) * weights.astype(np.int32)).reshape(-1, 2).sum(-1)


bytes_ = arrays.arrays(np.uint8, SIZE)


@given(bytes_, arrays.arrays(np.int8, SIZE, elements=st.integers(-NARROW, NARROW)))
def test_seven_bit_weights_never_saturate(activations, weights):
    np.testing.assert_array_equal(vpmaddubsw(activations, weights), vpdpbusd(activations, weights))


@given(bytes_, arrays.arrays(np.uint8, SIZE))
def test_unsigned_weights_widened_to_16_bits_never_overflow(activations, weights):
    # VPMADDWD adds two products of 16-bit numbers in 32 bits.
    exact = (activations.astype(np.int64) * weights.astype(np.int64)).reshape(-1, 2).sum(-1)
    assert exact.max() < 2**31


@given(st.integers(NARROW + 1, 127), st.sampled_from([-1, 1]))
def test_a_pair_of_any_larger_weight_saturates(weight, sign):
    activations = np.full(2, 255, np.uint8)
    weights = np.full(2, sign * weight, np.int8)
    assert vpmaddubsw(activations, weights) != vpdpbusd(activations, weights)


def test_what_saturation_does_to_a_product():
    """The error of full 8-bit weights is far above that of 7-bit ones, at their own scale."""
    generator = np.random.default_rng(0)
    activations = generator.integers(128, 256, 256).astype(np.uint8)
    matrix = generator.uniform(-1, 1, size=(256, 64))
    errors = {}
    for most in (NARROW, 127):
        grid = np.round(matrix / np.abs(matrix).max() * most).astype(np.int8)
        scale = np.abs(matrix).max() / most
        got = np.array([vpmaddubsw(activations, column).sum() for column in grid.T]) * scale
        wanted = activations @ matrix
        errors[most] = np.sqrt(np.mean((got - wanted) ** 2)) / np.sqrt(np.mean(wanted**2))
    assert errors[NARROW] < 0.01
    assert errors[127] > 2 * errors[NARROW]


def quantized(folder, *, operator, weights, form):
    """A file with one product of these 8-bit weights, in the form that a quantizer writes."""
    scale, zero = numpy_helper.from_array(np.float32(0.1), "s"), np.uint8(128)
    tensors = [
        scale,
        numpy_helper.from_array(zero, "z"),
        numpy_helper.from_array(np.zeros((), weights.dtype), "wz"),
        numpy_helper.from_array(weights, "w"),
    ]
    if form == "dynamic":
        nodes = [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]),
            helper.make_node("MatMulInteger", ["q", "w", "qz", "wz"], ["i"]),
            helper.make_node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
        ]
    elif form == "qoperator":
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node(
                f"QLinear{operator}", ["q", "s", "z", "w", "s", "wz", "s", "z"], ["p"]
            ),
            helper.make_node("DequantizeLinear", ["p", "s", "z"], ["y"]),
        ]
    else:
        middle = "d" if form == "qdq" else "x"
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d0"]),
            helper.make_node("Identity", ["d0"], ["d"]),
            helper.make_node("DequantizeLinear", ["w", "s", "wz"], ["dw"]),
            helper.make_node(operator, [middle, "dw"], ["y"]),
        ]
    shape = ["n", 4] if weights.ndim == 2 else ["n", 4, 3, 3]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "one.onnx"
    onnx.save(model, path)
    onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return path


FORMS = [("MatMul", form) for form in ("dynamic", "qdq", "qoperator")]
FORMS += [("Conv", form) for form in ("qdq", "qoperator")]


def weights_for(operator, dtype, value):
    shape = (4, 3) if operator == "MatMul" else (2, 4, 1, 1)
    return np.full(shape, value, dtype)


@pytest.mark.parametrize(("operator", "form"), FORMS)
def test_signed_weights_beyond_7_bits_can_saturate_without_vnni(tmp_path, operator, form):
    weights = weights_for(operator, np.int8, -NARROW - 1)
    path = quantized(tmp_path, operator=operator, weights=weights, form=form)
    said = can_saturate(path, "x86-avx2")
    assert said is not None
    assert said.startswith("1 of 1 quantized weights (such as 'w') use more than 7 bits")
    for target in ("x86-vnni", "arm-dotprod", "arm", "other"):
        assert can_saturate(path, target) is None


@pytest.mark.parametrize(("operator", "form"), FORMS)
@pytest.mark.parametrize(("dtype", "value"), [(np.int8, NARROW), (np.int8, -NARROW), (np.uint8, 1)])
def test_7_bit_and_unsigned_weights_cant(tmp_path, operator, form, dtype, value):
    weights = weights_for(operator, dtype, value)
    path = quantized(tmp_path, operator=operator, weights=weights, form=form)
    assert can_saturate(path, "x86-avx2") is None


def test_weights_that_are_multiplied_in_float_cant(tmp_path):
    weights = weights_for("MatMul", np.int8, 127)
    path = quantized(tmp_path, operator="MatMul", weights=weights, form="weight-only")
    assert can_saturate(path, "x86-avx2") is None
