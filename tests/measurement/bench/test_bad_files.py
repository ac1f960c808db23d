"""ONNX files that can't be timed: each ends with a sentence, in time, and none by our fault."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compress.errors import DataError, InputError, ModelError, StageError
from compress.measurement.bench.apart import bench_apart
from compress.measurement.bench.compare import MadeInputs, bench
from compress.measurement.bench.inputs import MOST_BYTES, declared
from tests.measurement.bench.onnx_writer import FLOAT, INT, write

OPEN = [("x", FLOAT, ["n", 4])]


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs, outputs, **attributes)


def changed(path, change):
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def endless(path):
    """A Loop whose condition never becomes false."""
    truth = TensorProto.BOOL
    body = helper.make_graph(
        [node("Identity", ["c"], ["c2"]), node("Identity", ["v"], ["v2"])],
        "body",
        [
            helper.make_tensor_value_info("i", INT, []),
            helper.make_tensor_value_info("c", truth, []),
            helper.make_tensor_value_info("v", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c2", truth, []),
            helper.make_tensor_value_info("v2", FLOAT, None),
        ],
    )
    loop = node("Loop", ["", "true", "x"], ["y"], body=body)
    return write(path, OPEN, nodes=[loop], tensors=[("true", np.array(True))])


def claimed(path):
    """Weights of which only the shape is there."""

    def change(model):
        model.graph.initializer[0].dims[:] = [2**40]

    weights = [("w", np.zeros(4, np.float32))]
    return changed(
        write(path, OPEN, nodes=[node("Add", ["x", "w"], ["y"])], tensors=weights), change
    )


def without_its_data(path):
    def change(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="gone.bin")

    weights = [("w", np.zeros(4, np.float32))]
    return changed(
        write(path, OPEN, nodes=[node("Add", ["x", "w"], ["y"])], tensors=weights), change
    )


def later(path):
    def change(model):
        model.opset_import[0].version = 999

    return changed(write(path, OPEN), change)


def of_bytes(content):
    def make(path):
        path.write_bytes(content)
        return path

    return make


def of_nodes(*nodes, inputs=OPEN, tensors=()):
    return lambda path: write(path, inputs, nodes=list(nodes), tensors=tensors)


def truncated(path):
    return of_bytes(endless(path).read_bytes()[:100])(path)


UNREADABLE = {
    "empty": of_bytes(b""),
    "text": of_bytes(b"hello world\n" * 50),
    "random": of_bytes(np.random.default_rng(0).bytes(5000)),
    "truncated": truncated,
    "claimed": claimed,
    "no data": without_its_data,
    "later": later,
    "unknown operator": of_nodes(node("Nonsense", ["x"], ["y"])),
    "circle": of_nodes(node("Add", ["x", "b"], ["a"]), node("Identity", ["a"], ["b"])),
    "names twice": of_nodes(node("Identity", ["x"], ["y"]), node("Identity", ["x"], ["y"])),
    "circle of indices": of_nodes(
        node("Cast", ["b"], ["a"], to=INT),
        node("Identity", ["a"], ["b"]),
        node("Gather", ["table", "b"], ["y"]),
        tensors=[("table", np.zeros((3, 2), np.float32))],
    ),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_or_loaded(tmp_path, kind):
    path = UNREADABLE[kind](tmp_path / "bad.onnx")
    with pytest.raises(ModelError, match=r"bad\.onnx") as raised:
        bench([path], batch_sizes=[1], seconds=0.01)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("axes", "kind", "said"),
    [
        (["n", 2**62], FLOAT, "would be 1 x 4611686018427387904 float32"),
        ([10**5, 10**5], FLOAT, "'batch sizes' must be"),
        (["n", -1], FLOAT, "has a negative size"),
        (["n"], TensorProto.STRING, "must hold numbers"),
        (["n"], 99, "can't read the inputs of"),
    ],
)
def test_inputs_that_cannot_be_made(tmp_path, axes, kind, said):
    path = write(tmp_path / "bad.onnx", [("x", kind, axes)])
    with pytest.raises(InputError, match=said):
        bench([path], seconds=0.01, batch_sizes=None if isinstance(axes[0], int) else [1])


def test_the_largest_input_is_bounded_in_bytes_and_made_in_none(tmp_path):
    path = write(tmp_path / "a.onnx", [("x", FLOAT, ["n", "width"])])
    made = MadeInputs(sizes={"width": MOST_BYTES // 4 + 1})
    with pytest.raises(DataError, match=f"at most {MOST_BYTES:,} are made"):
        made.arrays(declared(path), batch=1)
    with pytest.raises(InputError):
        bench([path], batch_sizes=[10**30], made=MadeInputs(sizes={"width": 4}))


@pytest.mark.parametrize("name", ["folder.onnx", "none.onnx", "a\0b", "a" * 5000])
def test_what_is_no_file(tmp_path, name):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match="there is no file"):
        bench([tmp_path / name])


def test_a_loop_that_never_ends_is_ended(tmp_path):
    path = endless(tmp_path / "loop.onnx")
    with pytest.raises(StageError, match=r"running loop\.onnx at batch size 1 took longer than 1 "):
        bench_apart([path], batch_sizes=[1], seconds=0.01, call_seconds=1)


def test_a_model_that_wants_all_memory_gets_an_error(tmp_path):
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    path = write(
        tmp_path / "wide.onnx",
        [("x", FLOAT, ["n", 1])],
        nodes=[node("Expand", ["x", "shape"], ["e"]), node("ReduceSum", ["e"], ["y"])],
        tensors=[("shape", np.array([1, size], np.int64))],
    )
    with pytest.raises(StageError, match=r"ONNX Runtime failed while timing 'wide\.onnx'"):
        bench_apart([path], batch_sizes=[1], seconds=0.01)


def test_figures_are_those_of_the_other_process(tmp_path):
    path = write(tmp_path / "a.onnx", OPEN)
    np.savez(tmp_path / "real.npz", x=np.ones((3, 4), np.float32))
    found = bench_apart([path], batch_sizes=[1, 2], seconds=0.01, inputs=tmp_path / "real.npz")
    assert dict(found.models) == {"a.onnx": path}
    assert found.size_bytes == {"a.onnx": path.stat().st_size}
    assert found.inputs == "3 given samples, repeated to a batch"
    for timing, size in zip(found.timings, (1, 2), strict=True):
        assert timing.batch_size == size
        assert timing.p50_ci95[0] <= timing.p50_ms <= timing.p50_ci95[1]
        assert timing.samples_per_second == pytest.approx(1000 * size / timing.p50_ms)
        assert timing.speedup == 1


def test_inputs_whose_compressed_bytes_are_damaged(tmp_path):
    path = write(tmp_path / "a.onnx", OPEN)
    given = tmp_path / "real.npz"
    values = np.random.default_rng(0).integers(0, 4, (64, 4)).astype(np.float32)
    np.savez_compressed(given, x=values)
    whole = given.read_bytes()
    middle = len(whole) // 2
    given.write_bytes(whole[:middle] + bytes(40) + whole[middle + 40 :])
    with pytest.raises(InputError, match=r"can't read .*real\.npz"):
        bench_apart([path], batch_sizes=[1], seconds=0.01, inputs=given)
