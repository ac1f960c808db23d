import ctypes
import math
import sys
from contextlib import contextmanager

import numpy as np
import onnx
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import helper

from compress.errors import DataError, StageError
from compress.measurement.session import unoptimized_session
from compress.onnx_graph.graph import Graph
from compress.quantization.calibration.observe import observe
from compress.quantization.options import METHODS
from compress.quantization.selection import select
from compress.quantization.static import activations
from tests.quantization.calibration.graphs import graph, scaled
from tests.quantization.calibration.texts import collate, padded
from tests.quantization.models import digits, texts

FLOATS = st.floats(-(2.0**99), 2.0**99, width=32)
ROWS = arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=FLOATS)


def _names(path):
    model = onnx.load(path)
    return activations(Graph(model), select(Graph(model), method="static"))


def _observe(path, batches, *, methods=METHODS, **options):
    return observe(path, _names(path), batches=batches, methods=methods, **options)


def _ranges(path, batches, **options):
    seen = _observe(path, batches, **options)
    return {method: seen.ranges(method, percentile=99) for method in METHODS}


def _images(size, samples=24):
    return [
        {"pixel_values": part, "labels": part[:, 0]} for part in digits()[0][:samples].split(size)
    ]


class _Watch:
    """A progress that notes the resident set after each sample, in MiB."""

    def __init__(self):
        self.seen = []
        self.steps = 0

    @contextmanager
    def track(self, description, total):
        self.total = total

        def advance(steps=1, *, info=""):
            self.steps += steps
            self.seen.append(psutil.Process().memory_info().rss / 2**20)

        yield advance

    def say(self, line):
        raise AssertionError(line)


def test_minmax_is_what_numpy_finds(cnn):
    found = _observe(cnn, _images(16)).ranges("minmax")
    model = onnx.load(cnn)
    relu = next(node for node in model.graph.node if node.op_type == "Relu").output[0]
    value = helper.make_tensor_value_info(relu, onnx.TensorProto.FLOAT, None)
    model.graph.output.append(value)
    session = unoptimized_session(model, path=cnn)
    images = torch.cat([batch["pixel_values"] for batch in _images(16)])
    (values,) = session.run([relu], {"pixel_values": images.numpy()})
    assert found[relu] == pytest.approx((0, values.max()), rel=1e-5)
    assert found["pixel_values"] == (float(images.min()), float(images.max()))


def test_how_images_are_batched_and_ordered_changes_nothing(cnn):
    whole = _ranges(cnn, _images(24))
    assert _ranges(cnn, _images(7)) == whole
    assert _ranges(cnn, _images(5)[::-1]) == whole
    assert whole["minmax"].keys() == set(_names(cnn))


def test_padding_batching_and_order_of_texts_change_nothing(transformer):
    ids = [torch.randint(5, 200, (length,)) for length in (9, 3, 12, 6)]
    alone = _ranges(transformer, [collate([padded(row)]) for row in ids])
    right = collate([padded(row, after=20 - len(row)) for row in ids])
    left = collate([padded(row, before=14 - len(row)) for row in ids[::-1]])
    assert _ranges(transformer, [right]) == alone
    assert _ranges(transformer, [left]) == alone


def test_texts_of_different_lengths_are_calibrated(transformer):
    found = _ranges(transformer, [texts(2, 5), texts(3, 12)])
    for method, ranges in found.items():
        for name, (low, high) in ranges.items():
            assert -math.inf < low <= 0 <= high < math.inf, (method, name)
            assert low < high


def test_the_methods_differ(cnn):
    found = _ranges(cnn, _images(16))
    for method in set(METHODS) - {"minmax"}:
        narrower = [
            high - low < 0.98 * (found["minmax"][name][1] - found["minmax"][name][0])
            for name, (low, high) in found[method].items()
        ]
        assert any(narrower), method
    assert len({str(ranges) for ranges in found.values()}) == len(METHODS)


@settings(max_examples=15, deadline=None)
@given(ROWS, st.data())
def test_order_and_batches_change_no_bit(tmp_path_factory, rows, data):
    path = scaled(tmp_path_factory.mktemp("graph") / "m.onnx", (2.0, -0.5))
    order = data.draw(st.permutations(range(len(rows))))
    size = data.draw(st.integers(1, len(rows)))
    shuffled = rows[list(order)]
    parts = [{"x": shuffled[start : start + size]} for start in range(0, len(rows), size)]
    found = [
        observe(path, ["x", "y0", "y1"], batches=batches, methods=METHODS)
        for batches in ([{"x": rows}], parts)
    ]
    for method in METHODS:
        assert found[0].ranges(method) == found[1].ranges(method)
    lows, highs = rows.min(axis=1).tolist(), rows.max(axis=1).tolist()
    exact = math.fsum(lows) / len(rows), math.fsum(highs) / len(rows)
    assert found[0].extremes["x"].mean == pytest.approx(exact, rel=1e-15)
    for method in METHODS:
        low, high = found[0].ranges(method)["x"]
        assert min(rows.min(), 0) <= low <= 0 <= high <= max(rows.max(), 0)


def test_memory_does_not_grow_with_samples(tmp_path):
    path = scaled(tmp_path / "m.onnx", (2.0, 2.0))  # 2 MiB an activation
    watch = _Watch()
    batches = [{"x": np.full((1, 2**19), place, np.float32)} for place in (1, 2)] * 40
    observe(path, ["y0", "y1"], batches=batches, methods=["percentile"], progress=watch)
    assert watch.steps == watch.total == 160
    settled, end = max(watch.seen[:10]), max(watch.seen)
    assert end - settled < 16  # of 2 x 80 x 4 MiB that went through


def _resident():
    """MiB that the process holds, once what earlier tests freed went back to the system."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss / 2**20


def test_memory_is_bounded_for_one_sample(tmp_path):
    path = scaled(tmp_path / "m.onnx", (1.5,) * 24)  # 4 MiB an activation
    names = [f"y{place}" for place in range(24)]
    found, peaks = [], []
    for memory_bytes in (2**23, 2**40):
        before, watch = _resident(), _Watch()
        found.append(
            observe(
                path,
                names,
                batches=[{"x": np.linspace(-1, 1, 2**20, dtype=np.float32)[None]}],
                methods=["percentile"],
                memory_bytes=memory_bytes,
                progress=watch,
            )
        )
        peaks.append(max(watch.seen) - before)
    assert found[0].ranges("percentile") == found[1].ranges("percentile")
    assert peaks[1] > 70
    assert peaks[0] < peaks[1] - 30


@pytest.mark.parametrize(
    ("methods", "memory_bytes", "passes"),
    [
        (["minmax", "moving_average"], 2**20, 1),
        (["mse"], 2**20, 2),
        (["mse"], 48, 4),
        (["mse"], 1, 6),
    ],
)
def test_passes_over_the_samples(tmp_path, methods, memory_bytes, passes):
    class Stream:
        begun = 0

        def __iter__(self):
            self.begun += 1
            yield {"x": np.ones((3, 5), np.float32)}

    stream = Stream()
    path = scaled(tmp_path / "m.onnx", (1.0, 2.0, 3.0))  # 20 bytes a sample
    names = ["x", "y0", "y1", "y2"]
    seen = observe(path, names, batches=stream, methods=methods, memory_bytes=memory_bytes)
    assert stream.begun == 1 + passes  # the first sees which samples there are
    assert seen.ranges("minmax") == {"x": (0, 1), "y0": (0, 1), "y1": (0, 2), "y2": (0, 6)}
    assert seen.samples == 3


def test_zeros_constants_and_sometimes_empty_tensors(tmp_path):
    nodes = [
        helper.make_node("Mul", ["x", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "three"], ["threes"]),
        helper.make_node("Relu", ["part"], ["empty"]),
    ]
    weights = [("zero", np.float32(0)), ("three", np.float32(-3))]
    outputs = ["threes", "empty"]
    path = graph(
        tmp_path / "m.onnx", nodes, inputs={"x": 2, "part": 2}, outputs=outputs, weights=weights
    )
    names = ["zeros", "threes", "empty"]
    batches = [
        {"x": np.ones((2, 4), np.float32), "part": np.ones((2, n), np.float32)} for n in (0, 2)
    ]
    seen = observe(path, names, batches=batches, methods=METHODS)
    for method in METHODS:
        assert seen.ranges(method) == {"zeros": (0, 0), "threes": (-3, 0), "empty": (0, 1)}
    with pytest.raises(StageError, match="'empty' is empty for every calibration sample"):
        observe(path, names, batches=batches[:1], methods=["minmax"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_activations_that_are_not_finite_raise_with_their_name(tmp_path, value):
    path = scaled(tmp_path / "m.onnx", (1.0, value))
    batches = [{"x": np.ones((2, 3), np.float32)}]
    with pytest.raises(StageError, match="activation 'y1' isn't finite"):
        observe(path, ["y0", "y1"], batches=batches, methods=["minmax"])
    rows = np.ones((2, 3), np.float32)
    rows[1, 1] = value
    with pytest.raises(StageError, match="activation 'x' isn't finite"):
        observe(path, ["x"], batches=[{"x": rows}], methods=["minmax"])


def test_no_samples_raise(cnn):
    for nothing in ([], [{"pixel_values": torch.zeros(0, 1, 8, 8)}]):
        with pytest.raises(StageError, match="no calibration samples"):
            _observe(cnn, nothing)


def test_samples_that_cannot_be_gone_through_again_raise(cnn):
    with pytest.raises(StageError, match="24 at first, then 0"):
        _observe(cnn, iter(_images(8)))


def test_what_a_method_needs_must_have_been_observed(cnn):
    seen = _observe(cnn, _images(8), methods=["minmax"])
    assert seen.ranges("moving_average").keys() == seen.ranges("minmax").keys()
    with pytest.raises(StageError, match=r"'method' must be one of minmax, moving_average\. Got"):
        seen.ranges("mse")


def test_unknown_tensors_and_missing_inputs_raise(cnn):
    with pytest.raises(StageError, match=r"unknown tensor 'pixel_value'.*'pixel_values'"):
        observe(cnn, ["pixel_value"], batches=_images(8), methods=["minmax"])
    with pytest.raises(DataError, match="the batch has no pixel_values"):
        _observe(cnn, [{"labels": torch.zeros(2)}])


def test_what_the_tensors_do_not_need_is_not_computed(tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Reshape", ["y", "impossible"], ["z"]),
    ]
    weights = [("impossible", np.array([7, 13], np.int64))]
    path = graph(tmp_path / "m.onnx", nodes, inputs={"x": 2}, outputs=["z"], weights=weights)
    batches = [{"x": np.ones((1, 4), np.float32)}]
    seen = observe(path, ["y"], batches=batches, methods=["minmax"])
    assert seen.ranges("minmax") == {"y": (0, 1)}
    with pytest.raises(StageError, match="ONNX Runtime failed"):
        observe(path, ["y", "z"], batches=batches, methods=["minmax"])


def test_what_inner_graphs_read_is_kept(tmp_path):
    branch = [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)]
    then, other = (
        helper.make_graph([helper.make_node(kind, ["y"], ["out"])], kind, [], branch)
        for kind in ("Neg", "Relu")
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("If", ["yes"], ["z"], then_branch=then, else_branch=other),
    ]
    weights = [("yes", np.array(True))]
    path = graph(tmp_path / "m.onnx", nodes, inputs={"x": 2}, outputs=["z"], weights=weights)
    batches = [{"x": np.ones((1, 4), np.float32)}]
    seen = observe(path, ["z"], batches=batches, methods=["minmax"])
    assert seen.ranges("minmax") == {"z": (-1, 0)}
