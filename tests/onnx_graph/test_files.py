"""Files that are read, written, copied and removed, with weights inside and beside them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.errors import LoadError, StageError
from compress.onnx_graph import files
from compress.onnx_graph.files import (
    check_file,
    copy_model,
    external_files,
    load_graph,
    load_model,
    remove_model,
    save_model,
)
from compress.onnx_graph.metadata import metadata_of, set_metadata, with_metadata
from compress.onnx_graph.traces import rename_axes, strip_traces
from tests.onnx_graph.models import X, answers, branching, model, same


def large(seed=0):
    """Two weights that are large enough to be kept beside the file."""
    generator = np.random.default_rng(seed)
    weights = {
        "a": generator.normal(size=(4, 512)).astype(np.float32),
        "b": generator.normal(size=(512, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], name="first"),
        helper.make_node("MatMul", ["h", "b"], ["y"], name="second"),
    ]
    return model(nodes, weights=weights, shape=("n", 4))


@pytest.fixture
def beside(monkeypatch):
    """Weights are written beside a file from a few bytes on."""
    monkeypatch.setattr(files, "SINGLE_FILE_BYTES", 1000)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def computed(path):
    return answers(load_model(path))


def test_a_file_is_the_same_each_time(tmp_path):
    made = large()
    set_metadata(made, {"b": "1", "a": "2"})
    for name in ("one.onnx", "two.onnx"):
        save_model(made, tmp_path / "folder" / name)
    one, two = ((tmp_path / "folder" / name).read_bytes() for name in ("one.onnx", "two.onnx"))
    assert one == two == load_model(tmp_path / "folder/one.onnx").SerializeToString()
    assert names(tmp_path / "folder") == ["one.onnx", "two.onnx"]


def test_large_weights_lie_beside_a_file(tmp_path, beside):
    path, wanted = tmp_path / "large.onnx", answers(large())
    save_model(large(), path)
    save_model(large(), path)  # in the place of the first, not behind it
    assert names(tmp_path) == ["large.onnx", "large.onnx.data"]
    assert (tmp_path / "large.onnx.data").stat().st_size == 2 * 4 * 512 * 4
    assert external_files(path) == [tmp_path / "large.onnx.data"]
    assert same(computed(path), wanted)
    assert not load_graph(path).initializers["a"].raw_data
    check_file(path)


def test_a_smaller_model_leaves_no_old_weights(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    with monkeypatch.context() as limited:
        limited.setattr(files, "SINGLE_FILE_BYTES", 1000)
        save_model(large(), path)
    save_model(large(), path)
    assert names(tmp_path) == ["model.onnx"]


def test_a_copy_has_weights_of_its_own(tmp_path, beside):
    source, copy = tmp_path / "source.onnx", tmp_path / "copy.onnx"
    save_model(large(), source)
    wanted = computed(source)
    copy_model(source, copy)
    assert external_files(copy) == [tmp_path / "copy.onnx.data"]
    remove_model(source)
    assert names(tmp_path) == ["copy.onnx", "copy.onnx.data"]
    check_file(copy)
    assert same(computed(copy), wanted)
    copy_model(copy, copy)
    assert same(computed(copy), wanted)


def test_weights_in_several_files_become_one_in_a_copy(tmp_path):
    source = tmp_path / "source" / "model.onnx"
    source.parent.mkdir()
    made = large()
    wanted = answers(made)
    onnx.save_model(
        made, source, save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=0
    )
    assert len(external_files(source)) == 2
    (tmp_path / "copy").mkdir()
    copy_model(source, tmp_path / "copy" / "other.onnx")
    assert names(tmp_path / "copy") == ["other.onnx", "other.onnx.data"]
    assert same(computed(tmp_path / "copy/other.onnx"), wanted)


def test_a_copy_of_one_file_is_equal_to_it(tmp_path):
    save_model(large(), tmp_path / "a.onnx")
    copy_model(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_removing_takes_what_lies_beside(tmp_path, beside):
    save_model(large(), tmp_path / "source.onnx")
    copy_model(tmp_path / "source.onnx", tmp_path / "copy.onnx")
    remove_model(tmp_path / "copy.onnx")
    assert names(tmp_path) == ["source.onnx", "source.onnx.data"]
    remove_model(tmp_path / "source.onnx")
    remove_model(tmp_path / "source.onnx")
    assert names(tmp_path) == []


def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "bad.onnx"
    with pytest.raises(LoadError, match=r"bad\.onnx"):
        load_model(path)
    path.write_bytes(b"\xff" * 40)
    for load in (load_model, load_graph, external_files, metadata_of):
        with pytest.raises(LoadError, match=r"bad\.onnx"):
            load(path)
    path.write_bytes(model([], outputs=()).SerializeToString())
    with pytest.raises(LoadError, match="has no nodes"):
        load_graph(path)
    broken = model([helper.make_node("NoSuchOperator", ["x"], ["y"])], shape=("n", 4))
    path.write_bytes(broken.SerializeToString())
    with pytest.raises(StageError, match=r"bad\.onnx isn't a valid ONNX model: No Op registered"):
        check_file(path, types=False)


def test_local_functions_are_written_out(tmp_path):
    nodes = [helper.make_node("Neg", ["a"], ["b"])]
    opset = helper.make_opsetid("", 20)
    made = model([helper.make_node("Turned", ["x"], ["y"], domain="own")])
    made.opset_import.append(helper.make_opsetid("own", 1))
    made.functions.append(helper.make_function("own", "Turned", ["a"], ["b"], nodes, [opset]))
    save_model(made, tmp_path / "model.onnx")
    assert [node.op_type for node in load_graph(tmp_path / "model.onnx").nodes] == ["Neg"]
    assert [node.op_type for node in load_model(tmp_path / "model.onnx").graph.node] == ["Turned"]


def test_metadata_are_read_and_added_to(tmp_path, beside):
    made = large()
    set_metadata(made, {"task": "a", "labels": "b"})
    save_model(made, tmp_path / "source.onnx")
    target = tmp_path / "target.onnx"
    with_metadata(tmp_path / "source.onnx", target, {"labels": "c", "recipe": "d"})
    assert metadata_of(target) == {"task": "a", "labels": "c", "recipe": "d"}
    assert list(load_graph(target).metadata) == ["task", "labels", "recipe"]
    assert external_files(target) == [tmp_path / "source.onnx.data"]
    assert same(computed(target), computed(tmp_path / "source.onnx"))


def test_traces_of_the_exporter_are_removed_at_every_level():
    made = branching()
    branch = made.graph.node[1].attribute[0].g
    for item in (made.graph.node[0], branch.node[0], branch, made.graph.initializer[0]):
        item.doc_string = "/home/someone/model.py"
        item.metadata_props.add(key="trace", value="/home/someone/model.py")
    wanted = answers(made)
    strip_traces(made)
    assert b"someone" not in made.SerializeToString()
    assert same(answers(made), wanted)


def test_axes_are_renamed_wherever_they_are_noted():
    made = large()
    made.graph.value_info.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, ["n", 512]))
    rename_axes(made, {"n": "batch"})
    noted = [*made.graph.input, *made.graph.value_info]
    assert [each.type.tensor_type.shape.dim[0].dim_param for each in noted] == ["batch"] * 2
    assert answers(made)["y"].shape == (len(X), 4)


def test_tensors_in_attributes_and_inner_graphs_are_found(tmp_path):
    made = branching()
    held = numpy_helper.from_array(np.ones(4, np.float32), "held")
    made.graph.node[1].attribute[1].g.node.append(
        helper.make_node("Constant", [], ["c"], value=held)
    )
    save_model(made, tmp_path / "model.onnx")
    found = [tensor.name for tensor in load_graph(tmp_path / "model.onnx").tensors()]
    assert found == ["yes", "w", "held"]
