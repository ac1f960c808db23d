"""What a quantize stage says about its result."""

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from compress.errors import TargetError
from compress.measurement.results import Evaluation, Latency, Quality, Speedup
from compress.quantization.evaluation import Candidate
from compress.stages.quantize.verdict import costs, no_gain, over_budget, reasons


def evaluation(name, pace=1.0, *, loss=0.0, fits=True, size=100, width=0.01):
    return Evaluation(
        name=name,
        quality=Quality("accuracy", 0.9 - loss, (0.8, 1.0), 180),
        loss=loss,
        fits=fits,
        chosen=False,
        latency_ms={"1": Latency(1 / pace, 1 / pace)},
        speedup={"1": Speedup(pace, (pace - width, pace + width))},
        size_bytes=size,
    )


WHOLE = evaluation("float", size=200)


@pytest.mark.parametrize(
    ("pace", "width", "slower"),
    [
        (0.75, 0.01, {"1": 0.75}),
        (0.98, 0.01, {}),  # within the noise of any two sessions
        (0.75, 0.30, {}),  # its interval holds 1
        (1.20, 0.01, {}),
    ],
)
def test_slower_is_what_is_beyond_noise(pace, width, slower):
    assert evaluation("static", pace, width=width).slower_at == slower


def test_a_slower_result_is_called_so_and_a_larger_one_too():
    own = evaluation("static", 0.75, size=300)
    assert costs(own, WHOLE) == [
        "SLOWER than the float model: 0.75x at batch 1",
        "no smaller: 300 bytes quantized, 200 in float",
    ]
    assert costs(evaluation("static", 0.99), WHOLE) == []


@pytest.mark.parametrize(
    ("pace", "size", "expected"), [(0.75, 300, True), (0.75, 100, False), (1.5, 300, False)]
)
def test_no_gain_is_slower_and_no_smaller(pace, size, expected):
    assert no_gain("static", [WHOLE, evaluation("static", pace, size=size)]) is expected


def test_the_reason_names_the_best_of_the_others_and_what_is_faster_but_loses_too_much():
    stored = evaluation("stored", 1.0)
    others = [evaluation("dynamic", 0.8), evaluation("static", 1.5, loss=0.2, fits=False)]
    [line] = reasons([WHOLE, stored, *others], chosen=stored)
    assert line == (
        "chosen: stored, 1.00x at batch 1, loss 0.0000; the next within the budget: dynamic, "
        "0.80x at batch 1, loss 0.0000; faster, but over the budget: static, 1.50x at batch 1, "
        "loss 0.2000"
    )


def test_the_reason_names_what_is_faster_on_the_whole_but_slower_at_a_batch_size():
    stored, static = evaluation("stored", 1.0), evaluation("static", 0.9)
    speeds = static.speedup | {"32": Speedup(1.6, (1.5, 1.7))}
    [line] = reasons([WHOLE, stored, replace(static, speedup=speeds)], chosen=stored)
    assert line == (
        "chosen: stored, 1.00x at batch 1, loss 0.0000; faster on the whole, but slower than the "
        "float model: static, 0.90x at batch 1, 1.60x at batch 32, loss 0.0000"
    )


def test_the_error_lists_each_loss_and_the_node_that_differs_first(tmp_path):
    paths = [tmp_path / "float.onnx", tmp_path / "static.onnx"]
    for path, factor in zip(paths, (1, 3), strict=True):
        node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
        x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in "xy")
        w = numpy_helper.from_array(factor * np.eye(4, dtype=np.float32), "w")
        graph = helper.make_graph([node], "g", [x], [y], [w])
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    error = over_budget(
        [Candidate("static", paths[1])],
        [WHOLE, evaluation("static", loss=0.3, fits=False)],
        source=paths[0],
        batch={"x": np.ones((2, 4), np.float32)},
        budget=0.005,
    )
    assert isinstance(error, TargetError)
    said = str(error)
    assert said.startswith(
        "no INT8 candidate keeps within a loss of 0.005 on 180 validation samples: static loses "
        "0.3000. In static: The first node that differs: "
    )
    assert "product" in said
