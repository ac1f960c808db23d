import random
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from compress.errors import ModelError
from compress.onnx_graph.header import Declared, domains, read_header
from tests import given_files


def test_a_header_says_what_onnx_says(tmp_path: Path) -> None:
    model = given_files.digits(batch="N", shape=(1, None, 8), opset=17, domains=[("ai.onnx.ml", 2)])
    header = read_header(given_files.save(model, tmp_path / "a.onnx"))
    assert header.inputs == (Declared("images", "tensor", "float32", ("N", 1, None, 8)),)
    assert str(header.inputs[0]) == "'images' (float32, N x 1 x ? x 8)"
    assert header.outputs == (Declared("scores", "tensor", "float32", ("N", 10)),)
    assert [(one.name, one.kind) for one in header.operators] == [
        (node.name, node.op_type) for node in model.graph.node
    ]
    assert header.opsets == {"": 17, "ai.onnx.ml": 2}
    assert header.producer == "another 1.0"
    assert not header.external


def test_weights_that_are_declared_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    model = given_files.digits()
    model.graph.input.append(helper.make_tensor_value_info("bias", TensorProto.FLOAT, [8]))
    header = read_header(given_files.save(model, tmp_path / "a.onnx"))
    assert [one.name for one in header.inputs] == ["images"]


@pytest.mark.parametrize(("kind", "inner"), [("If", "inner/MatMul"), ("Loop", "inner/Mul")])
def test_nodes_inside_other_nodes_are_seen(kind: str, inner: str, tmp_path: Path) -> None:
    path = given_files.save(given_files.texts(inside=kind), tmp_path / "a.onnx")
    names = [one.name for one in read_header(path).operators]
    assert inner in names


def test_sequences_and_maps_are_told_from_tensors(tmp_path: Path) -> None:
    model = given_files.digits()
    entry = helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    )
    model.graph.output.append(
        helper.make_value_info("maps", helper.make_sequence_type_proto(entry))
    )
    header = read_header(given_files.save(model, tmp_path / "a.onnx"))
    assert [one.kind for one in header.outputs] == ["tensor", "sequence"]


def test_files_of_external_data_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    given_files.save(
        given_files.digits(), path, save_as_external_data=True, location="a.bin", size_threshold=0
    )
    assert read_header(path).external == {"a.bin"}


def test_calls_of_local_functions_belong_to_no_domain_of_a_runtime(tmp_path: Path) -> None:
    call = helper.make_node("Twice", ["scores"], ["twice"], domain="own")
    out = helper.make_tensor_value_info("twice", TensorProto.FLOAT, ["N", 10])
    model = given_files.digits(ending=[call], outputs=[out], domains=[("own", 1)])
    model.functions.append(
        helper.make_function(
            "own",
            "Twice",
            ["x"],
            ["y"],
            [helper.make_node("Add", ["x", "x"], ["y"])],
            [helper.make_opsetid("", 18)],
        )
    )
    header = read_header(given_files.save(model, tmp_path / "a.onnx"))
    assert set(domains(header)) == {""}
    assert "Add" in {one.kind for one in header.operators}


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"GIF89a...", b"\x0a\xff\xff\xff\xff\x0f", b"{}"]
)
def test_what_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="isn't an ONNX model, or is damaged"):
        read_header(path)


def test_damage_of_any_byte_is_an_error_or_a_header(tmp_path: Path) -> None:
    whole = given_files.texts(inside="If").SerializeToString()
    chance = random.Random(0)  # noqa: S311 (no secret)
    path = tmp_path / "a.onnx"
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(3):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(bytes(damaged))
        try:
            read_header(path)
        except ModelError:
            refused += 1
    assert 0 < refused < 200


def test_graphs_that_nest_without_end_are_refused(tmp_path: Path) -> None:
    def field(number: int, content: bytes) -> bytes:
        size, length = len(content), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    graph = b""
    for _ in range(1000):
        graph = field(1, field(5, field(6, graph)))  # a node, its attribute, the graph inside
    path = tmp_path / "a.onnx"
    path.write_bytes(field(8, b"\x10\x12") + field(7, graph))
    with pytest.raises(ModelError, match="isn't an ONNX model"):
        read_header(path)
