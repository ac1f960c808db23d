"""Models in OpenVINO answer as in ONNX Runtime, with the settings of its sessions."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compress.errors import DataError, LoadError
from compress.measurement.latency.measure import measure_latency
from compress.measurement.runtimes.beside import answers_note, open_in_openvino
from compress.measurement.runtimes.openvino import OpenVinoModel, library, settings
from compress.measurement.session import run, session
from compress.measurement.spec import MeasureSpec
from tests.extras import needs_openvino

pytestmark = needs_openvino
QUICK = MeasureSpec(batch_sizes=(1, 4), rounds=5, warmup=1, seconds=0.01)


def write(path, *nodes, batch="batch"):
    values = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3])] for name in "xy"]
    graph = helper.make_graph(list(nodes), "graph", *values)
    domains = {node.domain for node in nodes} | {""}
    opsets = [helper.make_opsetid(name, 1 if name else 20) for name in sorted(domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.fixture
def unknown(tmp_path):
    node = helper.make_node("NoSuch", ["x"], ["y"], domain="org.example")
    return write(tmp_path / "unknown.onnx", node)


def test_answers_are_those_of_onnx_runtime(cnn_onnx, images):
    model, opened = OpenVinoModel(cnn_onnx, threads=1), session(cnn_onnx, threads=1)
    for size in (1, 4, 3):
        here, there = model.run(images(size)), run(opened, images(size))
        assert list(here) == list(there)
        for name, answer in there.items():
            np.testing.assert_allclose(here[name], answer, rtol=1e-4, atol=1e-5)


def test_an_answer_is_kept_when_the_next_one_comes(cnn_onnx, images):
    model = OpenVinoModel(cnn_onnx, threads=1)
    first = model.answer(images(4))
    before = first.copy()
    model.answer({name: -array for name, array in images(4).items()})
    np.testing.assert_array_equal(first, before)


def test_a_file_of_fixed_batch_is_run_in_parts(tmp_path):
    path = write(tmp_path / "two.onnx", helper.make_node("Neg", ["x"], ["y"]), batch=2)
    given = np.arange(15, dtype=np.float32).reshape(5, 3)
    np.testing.assert_array_equal(OpenVinoModel(path, threads=1).answer({"x": given}), -given)


def test_a_missing_input_is_named(cnn_onnx):
    with pytest.raises(DataError, match="has no pixel_values"):
        OpenVinoModel(cnn_onnx, threads=1).run({"other": np.zeros(1)})


def test_a_file_that_it_cant_read_is_refused_in_a_sentence(unknown):
    with pytest.raises(LoadError) as error:
        OpenVinoModel(unknown, threads=1)
    assert "No conversion rule found for operations: org.example.NoSuch" in str(error.value)
    assert ".cpp" not in str(error.value)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_computes_in_float32_on_as_many_threads(cnn_onnx, threads):
    core = library().Core()
    compiled = core.compile_model(str(cnn_onnx), "CPU", settings(threads))
    assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


def test_its_use_is_not_reported():
    program = """
import sys
from compress.measurement.runtimes.openvino import library
library().Core()
assert "openvino" in sys.modules
assert "openvino_telemetry" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_both_runtimes_are_timed_in_the_same_rounds(cnn_onnx, images, unknown):
    inputs = {size: images(size) for size in (1, 4)}
    files = {"this": cnn_onnx, "original": cnn_onnx}
    others = open_in_openvino(("onnxruntime", "openvino"), files, inputs, threads=1)
    times = measure_latency(files | others.timed(), inputs, spec=QUICK)
    found = others.speeds(times, this="this", original="original").with_answers(
        agreement=1.0, max_difference=0.0
    )
    assert not others.refused
    for size in ("1", "4"):
        runs = times.runs_ms[int(size)]
        assert found.latency_ms[size].p50 == np.median(runs["openvino: this"])
        for speeds, rival in (
            (found.speedup, "openvino: original"),
            (found.speedup_vs_onnxruntime, "original"),
        ):
            wanted, _ = times.speedup(int(size), "openvino: this", over=rival)
            assert speeds[size].vs_original == wanted
        assert found.speedup[size].ci95 is not None


def test_the_original_is_held_against_itself_in_onnx_runtime(cnn_onnx, images):
    inputs = {size: images(size) for size in (1, 4)}
    others = open_in_openvino(("openvino",), {"this": cnn_onnx}, inputs, threads=1)
    times = measure_latency({"this": cnn_onnx} | others.timed(), inputs, spec=QUICK)
    found = others.speeds(times, this="this", original="this")
    assert found.same["1"].vs_original == 1
    assert found.same["1"].ci95 is None
    assert found.other["1"].ci95 is not None


def test_what_it_cant_read_is_noted_and_the_rest_is_timed(cnn_onnx, images, unknown):
    inputs = {1: images(1)}
    files = {"this": cnn_onnx, "original": unknown}
    others = open_in_openvino(("onnxruntime", "openvino"), files, inputs, threads=1)
    assert list(others.models) == ["this"]
    assert others.refused["original"].startswith("not timed in OpenVINO: OpenVINO can't load")
    spec = QUICK.model_copy(update={"batch_sizes": (1,)})
    times = measure_latency(
        {"this": cnn_onnx, "original": cnn_onnx} | others.timed(), inputs, spec=spec
    )
    found = others.speeds(times, this="this", original="original")
    assert found.same == {}
    assert list(found.other) == ["1"]


def test_nothing_is_opened_unless_it_is_asked_for(unknown):
    assert not open_in_openvino(("onnxruntime",), {"this": unknown}, {}, threads=1).refused


def test_a_note_warns_of_other_answers(cnn_onnx, images):
    inputs = {1: images(1), 4: images(4)}
    others = open_in_openvino(("openvino",), {"this": cnn_onnx}, inputs, threads=1)
    times = measure_latency({"this": cnn_onnx} | others.timed(), inputs, spec=QUICK)
    speeds = others.speeds(times, this="this", original="this")
    good = answers_note(speeds.with_answers(agreement=1.0, max_difference=1e-5), said="all")
    bad = answers_note(speeds.with_answers(agreement=0.9, max_difference=2.0), said="few")
    assert good == "OpenVINO's answers beside ONNX Runtime's: all, largest difference 1.0e-05"
    assert bad.startswith("DIFFERENT ANSWERS in OpenVINO")
