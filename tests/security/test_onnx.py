"""ONNX files whose weights lie elsewhere are loaded by nothing."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compress.cli import main
from compress.errors import InputError, StageError
from compress.measurement.bench.compare import bench
from compress.measurement.session import session, unoptimized_session
from compress.onnx_graph.files import external_files


@pytest.fixture(params=["up", "absolute", "link"])
def model(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones(4, np.float32).tobytes())
    (folder / "link.bin").symlink_to(secret)
    location = {"up": "../secret.bin", "absolute": str(secret), "link": "link.bin"}[request.param]
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    return folder / "model.onnx"


def test_its_files_are_not_named(model: Path) -> None:
    with pytest.raises(InputError, match=r"leads out of|absolute path"):
        external_files(model)


def test_bench_loads_nothing(model: Path) -> None:
    with pytest.raises(InputError, match=r"leads out of|absolute path"):
        bench([model], seconds=0.01)
    with pytest.raises(SystemExit) as ended:
        main(["bench", str(model)])
    assert ended.value.code == 2


def test_sessions_refuse_it(model: Path) -> None:
    with pytest.raises(StageError):
        session(model, threads=1)
    with pytest.raises(StageError):
        unoptimized_session(onnx.load(model, load_external_data=False), path=model)


def test_a_file_beside_it_is_taken(model: Path) -> None:
    loaded = onnx.load(model, load_external_data=False)
    os.link(model.parent.parent / "secret.bin", model.parent / "own.bin")
    loaded.graph.initializer[0].external_data[0].value = "own.bin"
    onnx.save(loaded, model)
    assert external_files(model) == [model.parent / "own.bin"]
    assert bench([model], batch_sizes=[1], seconds=0.01).size_bytes
