"""The first run of a given file, in a process of its own: what it answers, and how it may end."""

import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from compress.errors import ModelError
from compress.measurement.session import run, session
from compress.models.onnx_file.apart import take_apart
from compress.models.onnx_file.load import GivenFile, take
from compress.models.onnx_file.matching import Wanted
from tests import given_files

BATCH: dict[str, Any] = {"file": np.random.default_rng(0).random((4, 1, 8, 8), np.float32)}


def given(path: Path) -> GivenFile:
    return GivenFile(path, (Wanted("logits", "softmax", 2),), target="class", texts=False)


def endless(name: str) -> ModelProto:
    """Return a classifier whose scores are doubled until the largest is below 0."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Add", ["carried", "carried"], ["doubled"]),
            helper.make_node("ReduceMax", ["doubled"], ["most"], keepdims=0),
            helper.make_node("GreaterOrEqual", ["most", "zero"], ["go"]),
        ],
        "body",
        [
            value("number", TensorProto.INT64, []),
            value("on", TensorProto.BOOL, []),
            value("carried", TensorProto.FLOAT, None),
        ],
        [value("go", TensorProto.BOOL, []), value("doubled", TensorProto.FLOAT, None)],
    )
    ending = [
        helper.make_node("Abs", ["scores"], ["start"]),
        helper.make_node("Loop", ["", "true", "start"], ["end"], name, body=body),
    ]
    held = [
        numpy_helper.from_array(np.array(x), n)
        for n, x in (("true", True), ("zero", np.float32(0)))
    ]
    outputs = [value("end", TensorProto.FLOAT, ["N", 10])]
    made = given_files.digits(ending=ending, outputs=outputs, initializers=held)
    made.graph.node[-1].name = name
    return made


def test_the_copy_and_the_notes_are_those_of_this_process(tmp_path: Path) -> None:
    path = given_files.save(given_files.digits(opset=13), tmp_path / "a.onnx")
    here, there = tmp_path / "here.onnx", tmp_path / "there.onnx"
    notes = take(given(path), BATCH, to=here, metadata={"task": "a"})
    assert take_apart(given(path), BATCH, to=there, metadata={"task": "a"}) == notes
    assert here.read_bytes() == there.read_bytes()
    assert run(session(there, threads=1), BATCH)["logits"].shape == (4, 10)


def test_a_loop_without_end_is_ended_and_named(tmp_path: Path) -> None:
    path = given_files.save(endless("decode/spin"), tmp_path / "a.onnx")
    started = time.monotonic()
    said = (
        r"a\.onnx': running a\.onnx on 4 samples took longer than 2 s and was ended\. "
        r"Its node 'decode/spin' \(Loop\) may have no end\.$"
    )
    with pytest.raises(ModelError, match=said):
        take_apart(
            given(path), BATCH, to=tmp_path / "to.onnx", metadata={"task": "a"}, call_seconds=2
        )
    assert time.monotonic() - started < 30
    assert not (tmp_path / "to.onnx").exists()


def test_a_run_that_ends_its_process_is_told_as_one_of_the_file(tmp_path: Path) -> None:
    """The signal comes from here, as no operator of ONNX Runtime is known to crash."""
    path = given_files.save(endless("spin"), tmp_path / "a.onnx")
    others = set(psutil.Process().children())

    def crash() -> None:
        child: list[psutil.Process] = []
        while not child or child[0].cpu_times().user < 1:
            child = [each for each in psutil.Process().children() if each not in others]
            time.sleep(0.05)
        child[0].send_signal(signal.SIGSEGV)

    sender = threading.Thread(target=crash)
    sender.start()
    said = (
        r"a\.onnx': running a\.onnx on 4 samples ended the process of ONNX Runtime by .* SIGSEGV\."
    )
    with pytest.raises(ModelError, match=said):
        take_apart(given(path), BATCH, to=tmp_path / "to.onnx", metadata={"task": "a"})
    sender.join()


def test_a_file_that_needs_more_memory_than_there_is_is_refused(tmp_path: Path) -> None:
    """64 TiB, which no computer of today has."""
    shape = numpy_helper.from_array(np.array([1 << 22, 1 << 22], np.int64), "sizes")
    ending = [
        helper.make_node("ReduceMax", ["scores"], ["most"], keepdims=0),
        helper.make_node("Expand", ["most", "sizes"], ["huge"]),
        helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["scores", "sum"], ["product"]),
    ]
    outputs = [helper.make_tensor_value_info("product", TensorProto.FLOAT, ["N", 10])]
    model = given_files.digits(ending=ending, outputs=outputs, initializers=[shape])
    path = given_files.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=r"a\.onnx': .*at node 'net/Expand_5' \(Expand\).*alloc"):
        take_apart(given(path), BATCH, to=tmp_path / "to.onnx", metadata={"task": "a"})


def test_what_is_wrong_with_the_file_is_said_as_in_this_process(tmp_path: Path) -> None:
    path = given_files.save(given_files.digits(shape=(3, 8, 8)), tmp_path / "a.onnx")
    arguments: dict[str, Any] = {"to": tmp_path / "to.onnx", "metadata": {"task": "a"}}
    with pytest.raises(ModelError) as here:
        take(given(path), BATCH, **arguments)
    with pytest.raises(ModelError) as there:
        take_apart(given(path), BATCH, **arguments)
    assert str(there.value) == str(here.value)
