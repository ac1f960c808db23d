"""Single operators against onnxruntime."""

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compress.onnx_graph.graph import Graph
from compress.quantization.onnx_torch.fake_quantization import fake_quantize
from compress.quantization.onnx_torch.module import GraphModule

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.standard_normal((2, 4, 7, 6)).astype(np.float32)
ROWS = RANDOM.standard_normal((3, 5, 4)).astype(np.float32)
WHOLE = np.array([[7, -7, 3], [2, 5, -1]], dtype=np.int64)


def longs(*values):
    return np.array(values, dtype=np.int64)


def floats(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


CASES = {
    "conv, unequal pads": (
        "Conv", [IMAGE, floats(6, 2, 3, 3), floats(6)],
        {"group": 2, "pads": [0, 1, 2, 1], "strides": [2, 1], "dilations": [1, 2]},
    ),
    "conv of one dimension": ("Conv", [ROWS, floats(6, 5, 3)], {"pads": [1, 1]}),
    "transposed conv": (
        "ConvTranspose", [IMAGE, floats(4, 3, 3, 3), floats(3)],
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 0]},
    ),
    "max pool": (
        "MaxPool", [IMAGE], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 0, 1]},
    ),
    "average pool": (
        "AveragePool", [IMAGE], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    ),
    "global pool": ("GlobalAveragePool", [IMAGE], {}),
    "global max pool": ("GlobalMaxPool", [IMAGE], {}),
    "gemm": (
        "Gemm", [floats(5, 3), floats(4, 5), floats(4)],
        {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0},
    ),
    "batch normalization": (
        "BatchNormalization", [IMAGE, floats(4), floats(4), floats(4), np.abs(floats(4)) + 1], {},
    ),
    "layer normalization": ("LayerNormalization", [ROWS, floats(5, 4), floats(5, 4)], {"axis": 1}),
    "layer normalization, one scale": ("LayerNormalization", [ROWS, floats(1), floats(1)], {}),
    "whole division": ("Div", [WHOLE, longs(2, 2, 2)], {}),
    "power": ("Pow", [np.abs(ROWS), np.array(1.5, np.float32)], {}),
    "square": ("Pow", [ROWS, np.array(2, np.float32)], {}),
    "clip above": ("Clip", [ROWS, None, np.array(0.5, np.float32)], {}),
    "hard sigmoid": ("HardSigmoid", [ROWS], {"alpha": 0.3}),
    "hard swish": ("HardSwish", [ROWS], {}),
    "leaky relu": ("LeakyRelu", [ROWS], {"alpha": 0.2}),
    "elu": ("Elu", [ROWS], {}),
    "softplus": ("Softplus", [ROWS], {}),
    "tanh gelu": ("Gelu", [ROWS], {"approximate": "tanh"}),
    "round": ("Round", [ROWS * 2], {}),
    "max of three": ("Max", [ROWS, -ROWS, floats(4)], {}),
    "cast": ("Cast", [ROWS * 3], {"to": TensorProto.INT32}),
    "mean": ("ReduceMean", [IMAGE, longs(-1, 2)], {"keepdims": 0}),
    "length": ("ReduceL2", [ROWS, np.array([-1])], {}),
    "place of the largest": ("ArgMax", [ROWS.round()], {"axis": 1, "keepdims": 0}),
    "last place of the largest": ("ArgMax", [ROWS.round()], {"axis": -1, "select_last_index": 1}),
    "sum of all": ("ReduceSum", [ROWS], {"keepdims": 0}),
    "sum of none": ("ReduceSum", [ROWS], {"noop_with_empty_axes": 1}),
    "max": ("ReduceMax", [ROWS, longs(1)], {}),
    "log softmax": ("LogSoftmax", [ROWS], {"axis": 1}),
    "cumulative sum": ("CumSum", [ROWS, np.array(1)], {"exclusive": 1, "reverse": 1}),
    "shape": ("Shape", [IMAGE], {"start": 1, "end": -1}),
    "size": ("Size", [IMAGE], {}),
    "reshape": ("Reshape", [IMAGE, longs(0, -1, 6)], {}),
    "flatten": ("Flatten", [IMAGE], {"axis": 2}),
    "transpose": ("Transpose", [ROWS], {}),
    "expand": ("Expand", [floats(3, 1), longs(2, 1, 4)], {}),
    "squeeze": ("Squeeze", [floats(1, 3, 1)], {}),
    "unsqueeze": ("Unsqueeze", [floats(3, 2), longs(-1, 0)], {}),
    "slice": ("Slice", [ROWS, longs(1, -2), longs(100, 0), longs(1, 2), longs(2, 1)], {}),
    "slice backwards": ("Slice", [ROWS, longs(-1), longs(-100), longs(1), longs(-2)], {}),
    "empty slice": ("Slice", [ROWS, longs(3), longs(1), longs(1)], {}),
    "tile": ("Tile", [ROWS, longs(1, 2, 2)], {}),
    "pad": ("Pad", [ROWS, longs(1, 0, 0, 2), np.array(3, np.float32), longs(-1, 1)], {}),
    "reflecting pad": ("Pad", [IMAGE, longs(0, 0, 1, 2, 0, 0, 2, 1)], {"mode": "reflect"}),
    "edge pad": ("Pad", [IMAGE, longs(0, 0, 1, 0, 0, 0, 0, 1)], {"mode": "edge"}),
    "range": ("Range", [np.array(2), np.array(11), np.array(3)], {}),
    "lower triangle": ("Trilu", [ROWS, np.array(-1)], {"upper": 0}),
    "constant of shape": (
        "ConstantOfShape", [longs(2, 3)],
        {"value": numpy_helper.from_array(np.array([4], np.float32))},
    ),
    "gather": ("Gather", [ROWS, longs(-1, 0, 3)], {"axis": 1}),
    "gather rows": ("Gather", [floats(5, 3), longs(4, -5)], {}),
    "gather elements": ("GatherElements", [ROWS, np.zeros((3, 2, 4), np.int64) - 1], {"axis": 1}),
    "gather by tuples": ("GatherND", [ROWS, np.array([[0, 1], [2, 4]])], {}),
    "gather by tuples in samples": (
        "GatherND", [ROWS, np.array([[[0], [1]], [[2], [3]], [[4], [0]]])], {"batch_dims": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_operator_computes_what_onnxruntime_does(case):
    kind, arrays, attributes = CASES[case]
    model = one_node(kind, arrays, attributes)
    given = {f"i{n}": array for n, array in enumerate(arrays) if array is not None}
    [want] = session_of(model).run(None, given)
    tensors = [torch.from_numpy(np.asarray(array).copy()) for array in given.values()]
    got = GraphModule(Graph(model))(*tensors).numpy()
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("parts", [{"num_outputs": 2}, {"split": longs(1, 4)}], ids=str)
def test_split(parts):
    sizes = [parts.pop("split")] if "split" in parts else []
    model = one_node("Split", [ROWS, *sizes], {"axis": 1, **parts}, outputs=2)
    given = dict(zip(("i0", "i1"), (ROWS, *sizes), strict=False))
    want = session_of(model).run(None, given)
    tensors = [torch.from_numpy(array) for array in given.values()]
    got = GraphModule(Graph(model)).values(tensors, ("o0", "o1"))
    for array, tensor in zip(want, got.values(), strict=True):
        assert np.array_equal(array, tensor.numpy())


def one_node(kind, arrays, attributes, *, outputs=1):
    names = ["" if array is None else f"i{n}" for n, array in enumerate(arrays)]
    made = [f"o{n}" for n in range(outputs)]
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype), np.asarray(array).shape
        )
        for name, array in zip(names, arrays, strict=True)
        if name
    ]
    node = helper.make_node(kind, names, made, **attributes)
    results = [helper.make_empty_tensor_value_info(name) for name in made]
    graph = helper.make_graph([node], "g", inputs, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def session_of(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def quantizing_graph(kind, axis):
    """x quantized and dequantized; scale and zero point are inputs."""
    value = helper.make_tensor_value_info
    inputs = [
        value("x", TensorProto.FLOAT, None),
        value("s", TensorProto.FLOAT, None),
        value("z", kind, None),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=axis),
    ]
    graph = helper.make_graph(nodes, "g", inputs, [value("y", TensorProto.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize(
    ("kind", "dtype"), [(TensorProto.UINT8, "uint8"), (TensorProto.INT8, "int8")]
)
def test_fake_quantization_is_that_of_onnxruntime(kind, dtype):
    """Bit for bit, halves and limits included."""
    sessions = {axis: session_of(quantizing_graph(kind, axis)) for axis in (0, 1)}
    info = np.iinfo(dtype)

    @settings(max_examples=60, deadline=None)
    @given(
        seed=st.integers(0, 10**6),
        scale=st.floats(2**-20, 100, width=32),
        zero=st.integers(int(info.min), int(info.max)),
        axis=st.sampled_from([None, 0, 1]),
    )
    def check(seed, scale, zero, axis):
        random = np.random.default_rng(seed)
        steps = random.integers(-600, 600, (4, 6)) / 2 + random.choice([0, 0.1], (4, 6))
        x = (steps * np.float32(scale)).astype(np.float32)
        count = 1 if axis is None else x.shape[axis]
        scales = (np.float32(scale) * random.uniform(0.5, 2, count)).astype(np.float32)
        zeros = np.full(count, zero, dtype)
        if axis is None:
            scales, zeros = scales.reshape(()), zeros.reshape(())
        [want] = sessions[axis or 0].run(None, {"x": x, "s": scales, "z": zeros})
        tensors = [torch.from_numpy(np.array(array)) for array in (x, scales, zeros)]
        assert np.array_equal(fake_quantize(*tensors, axis=axis or 0).numpy(), want)
        apart = GraphModule(Graph(quantizing_graph(kind, axis or 0)))
        assert len(apart.steps) == 1
        assert np.array_equal(apart(*tensors).numpy(), want)

    check()


def test_gradients_pass_where_nothing_is_limited():
    x = torch.tensor([[-1.0, 0.24, 0.76, 9.0]], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    zero = torch.tensor(1, dtype=torch.uint8)
    fake_quantize(x, scale, zero)[0, :].backward(torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    assert x.grad.tolist() == [[0, 10, 100, 1000]]
    # LSQ: limited values pull the scale by their integer, others by what rounding did to them.
    rounding = 10 * (0 - 0.24 / 0.5) + 100 * (2 - 0.76 / 0.5) + 1000 * (18 - 18)
    assert scale.grad.item() == pytest.approx((-1 + rounding) / (4 * 255) ** 0.5, rel=1e-5)


def test_half_precision_around_it_changes_no_step():
    x = torch.linspace(-3, 3, 1000).reshape(10, 100)
    scale, zero = torch.tensor(0.013), torch.tensor(7, dtype=torch.int8)
    want = fake_quantize(x, scale, zero)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = fake_quantize(x, scale, zero)
    assert got.dtype == torch.float32
    assert torch.equal(got, want)
