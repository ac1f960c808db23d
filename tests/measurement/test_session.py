import numpy as np
import onnx
import pytest
import torch

from compress.errors import DataError, StageError
from compress.measurement.session import feed, run, session, unoptimized_session


def test_session_answers_as_the_torch_module(cnn, cnn_onnx, images):
    batch = images(3)
    logits = run(session(cnn_onnx, threads=1), batch)["logits"]
    wanted = cnn(torch.from_numpy(batch["pixel_values"])).detach().numpy()
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4)


def test_options_are_those_promised(cnn_onnx):
    import onnxruntime

    made = session(cnn_onnx, threads=2)
    options = made.get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.inter_op_num_threads == 1
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert options.log_severity_level == 4
    assert made.get_providers() == ["CPUExecutionProvider"]


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(StageError, match=r"broken\.onnx"):
        session(path, threads=1)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(StageError, match=r"absent\.onnx"):
        session(tmp_path / "absent.onnx", threads=1)


def test_unoptimized_session_names_the_file_of_an_invalid_graph(cnn_onnx):
    model = onnx.load(cnn_onnx)
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(StageError, match=r"measured_cnn\.onnx"):
        unoptimized_session(model, path=cnn_onnx)


def test_feed_takes_torch_tensors_and_leaves_out_the_rest(cnn_onnx):
    batch = {"labels": torch.zeros(2), "pixel_values": torch.ones(2, 1, 8, 8)}
    taken = feed(session(cnn_onnx, threads=1), batch)
    assert list(taken) == ["pixel_values"]
    assert taken["pixel_values"].dtype == np.float32


def test_a_missing_input_is_named_with_what_there_is(cnn_onnx):
    with pytest.raises(DataError, match=r"no pixel_values\. It has: images, labels"):
        feed(session(cnn_onnx, threads=1), {"images": np.ones(1), "labels": np.ones(1)})


def test_a_refused_input_says_which_shapes(cnn_onnx):
    wrong = {"pixel_values": np.zeros((1, 2, 8, 8), dtype=np.float32)}
    with pytest.raises(StageError, match=r"pixel_values float32 \(1, 2, 8, 8\)"):
        run(session(cnn_onnx, threads=1), wrong)


def test_a_node_that_fails_is_named_and_nothing_is_printed(tmp_path, capfd):
    """Onnxruntime would print the error too."""
    info = onnx.helper.make_tensor_value_info
    nodes = [onnx.helper.make_node("Reshape", ["x", "to"], ["y"], name="folded")]
    graph = onnx.helper.make_graph(
        nodes,
        "made",
        [info("x", onnx.TensorProto.FLOAT, ["n", 5])],
        [info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.array([7, -1]), "to")],
    )
    path = tmp_path / "model.onnx"
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    said = r"^ONNX Runtime failed on the inputs x float32 \(2, 5\), at node 'folded' \(Reshape\): "
    with pytest.raises(StageError, match=said) as caught:
        run(session(path, threads=1), {"x": np.zeros((2, 5), np.float32)})
    assert "onnxruntime_src" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
