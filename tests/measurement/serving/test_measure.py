import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.errors import CompressError
from compress.measurement.serving.measure import measure_serving

WIDTH, LAYERS = 1024, 16
ALONE = """
import sys
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for _ in range(3):
    session.run(None, {"x": np.zeros((64, 1024), np.float32)})
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.fixture(scope="module")
def heavy(tmp_path_factory):
    """A model of 67 MB of weights, in many parts: the runtime copies each as it packs it.

    Whether the copy is given back before the next is made depends on the process.
    """
    generator = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(generator.random((WIDTH, WIDTH), np.float32), name)
        for name in (f"w{number}" for number in range(LAYERS))
    ]
    names = ["x", *(f"h{number}" for number in range(1, LAYERS)), "y"]
    nodes = [
        helper.make_node("MatMul", [names[number], weight.name], [names[number + 1]])
        for number, weight in enumerate(weights)
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", WIDTH]) for name in ("x", "y")
    ]
    graph = helper.make_graph(nodes, "heavy", ends[:1], ends[1:], weights)
    path = tmp_path_factory.mktemp("serving") / "model.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path
    )
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the script reads Linux's record of the peak")
def test_memory_is_that_of_a_script_which_only_serves(heavy):
    found = measure_serving(heavy, {"x": np.zeros((64, WIDTH), np.float32)})
    script = [sys.executable, "-c", ALONE, str(heavy)]
    alone = int(subprocess.run(script, capture_output=True, check=True).stdout) * 1024
    assert found.memory_bytes == pytest.approx(alone, rel=0.1)
    assert found.memory_bytes > heavy.stat().st_size
    assert 1 < found.load_ms < 60_000


def test_an_input_may_have_any_name(tmp_path):
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N"]) for n in ("file", "y")]
    node = helper.make_node("Neg", ["file"], ["y"])
    graph = helper.make_graph([node], "any", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    found = measure_serving(tmp_path / "model.onnx", {"file": np.zeros(3, np.float32)})
    assert found.memory_bytes > 1e7


def test_a_file_that_cannot_be_served_is_named(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"none")
    with pytest.raises(CompressError, match=r"model\.onnx"):
        measure_serving(tmp_path / "model.onnx", {"x": np.zeros((1, 2), np.float32)})
