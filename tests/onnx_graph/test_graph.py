"""The index of a graph, and changes after which it computes the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compress.onnx_graph.graph import Graph
from compress.onnx_graph.inner import reads
from compress.onnx_graph.order import in_order
from tests.onnx_graph.models import X, answers, branching, model, random_models, same, value

MANY = settings(max_examples=60, deadline=None)


def chain():
    """y = -(x + w), and a node that nothing reads."""
    nodes = [
        helper.make_node("Add", ["x", "w"], ["h"], name="add"),
        helper.make_node("Neg", ["h"], ["y"], name="neg"),
        helper.make_node("Mul", ["h", "unread"], ["z"], name="dead"),
    ]
    floats = np.arange(4, dtype=np.float32)
    return model(nodes, weights={"w": floats, "unread": floats + 1})


def test_who_makes_and_who_reads_a_tensor():
    graph = Graph(chain())
    assert graph.producer("h").name == "add"
    assert graph.made_by("h", "Add", "Sub") is graph.nodes[0]
    assert graph.made_by("h", "Sub") is graph.producer("x") is graph.producer("w") is None
    assert [node.name for node in graph.readers("h")] == ["neg", "dead"]
    assert graph.readers("y") == []
    assert graph.only_reader("h") is None
    assert graph.only_reader("w").name == "add"
    assert graph.named("neg") is graph.nodes[1]
    assert graph.named("none") is None
    assert graph.names == ["x", "h", "y", "z"]
    assert (list(graph.inputs), list(graph.outputs)) == (["x"], ["y"])


def test_a_tensor_that_is_read_twice_or_is_an_output_has_no_only_reader():
    twice = Graph(model([helper.make_node("Add", ["x", "x"], ["y"])]))
    assert len(twice.readers("x")) == 2
    assert twice.only_reader("x") is None
    nodes = [helper.make_node("Neg", ["x"], ["h"]), helper.make_node("Neg", ["h"], ["y"])]
    assert Graph(model(nodes)).only_reader("h") is not None
    assert Graph(model(nodes, outputs=("y", "h"))).only_reader("h") is None


def test_a_node_reads_what_the_graphs_inside_it_read():
    graph = Graph(branching())
    assert [node.name for node in graph.readers("h")] == ["if", "if"]
    assert [node.name for node in graph.readers("w")] == ["if"]
    assert len(graph.levels) == 3
    assert [node.op_type for node in graph.every_node] == ["Relu", "If", "Mul", "Neg"]
    assert graph.producer("inner").op_type in ("Neg", "Mul")


def test_constants_are_initializers_and_constant_nodes():
    nodes = [
        helper.make_node("Constant", [], ["a"], value=numpy_helper.from_array(np.ones(4, "f4"))),
        helper.make_node("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0, 4.0]),
        helper.make_node("Constant", [], ["c"], value_int=3),
        helper.make_node("Constant", [], ["d"], value_string="text"),
        helper.make_node("Add", ["a", "b"], ["h"]),
        helper.make_node("Add", ["h", "w"], ["y"]),
    ]
    made = model(nodes, weights={"w": np.arange(4, dtype=np.float32)})
    made.graph.input.append(value("w", (4,)))  # as old files declare their initializers
    graph = Graph(made)
    assert list(graph.inputs) == ["x"]
    assert graph.value("a").tolist() == [1, 1, 1, 1]
    assert graph.value("b").dtype == np.float32
    assert graph.value("c") == 3
    assert graph.value("w").tolist() == [0, 1, 2, 3]
    assert graph.value("d") is graph.value("h") is graph.value("x") is None
    kinds = {name: (each.type, each.shape) for name, each in graph.constants.items()}
    assert kinds == {
        "w": (TensorProto.FLOAT, (4,)),
        "a": (TensorProto.FLOAT, (4,)),
        "b": (TensorProto.FLOAT, (4,)),
        "c": (TensorProto.INT64, ()),
    }


def test_types_and_shapes_are_inferred_past_large_constants():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Shape", ["h"], ["s"]),
        helper.make_node("Reshape", ["h", "to"], ["y"]),
    ]
    weights = {"w": np.ones((4, 2048), np.float32), "to": np.array([-1, 2, 1024])}
    graph = Graph(model(nodes, weights=weights))
    assert graph.shape("x") == ("n", 4)
    assert graph.shape("h") == ("n", 2048)
    assert graph.shape("y")[1:] == (2, 1024)
    assert graph.shape("w") == (4, 2048)
    assert graph.element_type("s") == TensorProto.INT64
    assert graph.element_type("h") == graph.element_type("w") == TensorProto.FLOAT
    assert graph.shape("nowhere") is None
    assert graph.element_type("nowhere") == 0


def test_initializers_are_added_changed_and_removed():
    graph = Graph(chain())
    assert graph.unused_name("w") == "w_1"
    assert graph.unused_name("h") == "h_1"
    assert graph.unused_name("new") == "new"
    name = graph.add_initializer("w_1", np.ones((2, 4)))
    assert graph.shape(name) == (2, 4)
    assert graph.constants[name].type == TensorProto.DOUBLE
    graph.set_initializer("w", np.full(4, 7, np.float32))
    assert np.array_equal(answers(graph.model)["y"], -(X + 7))
    graph.keep_initializers(["w", "unread"])
    assert [tensor.name for tensor in graph.model.graph.initializer] == ["w", "unread"]


def test_what_nothing_reads_goes():
    made = chain()
    made.graph.value_info.extend([value("z"), value("h")])
    graph = Graph(made)
    wanted = answers(made)
    graph.remove_unused()
    assert [node.name for node in graph.nodes] == ["add", "neg"]
    assert list(graph.initializers) == ["w"]
    assert [each.name for each in made.graph.value_info] == ["h"]
    assert same(answers(made), wanted)


def test_an_unread_initializer_that_a_caller_may_give_stays():
    made = chain()
    made.graph.input.append(value("unread", (4,)))
    Graph(made).remove_unused()
    assert {tensor.name for tensor in made.graph.initializer} == {"w", "unread"}
    assert "y" in answers(made)


@MANY
@given(random_models())
def test_removing_what_is_unused_keeps_the_answers(made):
    wanted, graph = answers(made), Graph(made)
    graph.remove_unused()
    assert same(answers(made), wanted)
    read = {name for node in graph.nodes for name in reads(node)}
    assert set(graph.initializers) <= read
    assert all(
        read & set(node.output) or graph.outputs.keys() & node.output for node in graph.nodes
    )
    before = made.SerializeToString(deterministic=True)
    graph.remove_unused()
    assert made.SerializeToString(deterministic=True) == before


@MANY
@given(random_models(), st.randoms(use_true_random=False))
def test_shuffled_nodes_are_put_in_order(made, random):
    wanted, graph = answers(made), Graph(made)
    nodes = list(graph.nodes)
    random.shuffle(nodes)
    graph.set_nodes(in_order(nodes))
    assert len(graph.nodes) == len(nodes)
    assert same(answers(made), wanted)


@MANY
@given(random_models())
def test_nodes_in_order_stay_where_they_are(made):
    nodes = Graph(made).nodes
    assert [node.name for node in in_order(nodes)] == [node.name for node in nodes]


@MANY
@given(random_models(), st.data())
def test_a_part_computes_what_the_whole_does(made, data):
    graph = Graph(made)
    tensors = data.draw(st.lists(st.sampled_from(graph.names[1:]), min_size=1, unique=True))
    part = graph.ending_in(tensors)
    graph.add_outputs(tensors)
    wanted = answers(graph.model)
    got = answers(part)
    assert list(got) == tensors
    assert same(got, {name: wanted[name] for name in tensors})
    assert len(part.graph.node) <= len(graph.nodes)


@MANY
@given(random_models(), st.data())
def test_readers_are_redirected_everywhere(made, data):
    wanted, graph = answers(made), Graph(made)
    tensor = data.draw(st.sampled_from(graph.names))
    graph.redirect({tensor: "copy"})
    assert not graph.readers(tensor)
    copy = helper.make_node("Identity", [tensor], ["copy"], name="copied")
    graph.replace(remove=(), add=[copy])
    assert same(answers(made), wanted)


@MANY
@given(random_models(), st.data())
def test_a_replaced_node_is_gone_and_its_like_is_in_its_place(made, data):
    wanted, graph = answers(made), Graph(made)
    node = data.draw(st.sampled_from(graph.nodes))
    like = type(node)()
    like.CopyFrom(node)
    like.name = "like"
    graph.replace(remove=[node], add=[like])
    assert graph.named(node.name) is None
    assert same(answers(made), wanted)


def test_outputs_are_added_once():
    graph = Graph(chain())
    graph.add_outputs(["h", "y", "h"])
    assert list(graph.outputs) == ["y", "h"]
    assert np.array_equal(answers(graph.model)["h"], -answers(graph.model)["y"])


@pytest.mark.parametrize("by_hand", [True, False])
def test_the_index_follows_changes(by_hand):
    graph = Graph(chain())
    assert len(graph.readers("h")) == 2
    if by_hand:
        graph.nodes[2].input[0] = "x"
        assert len(graph.readers("h")) == 2
        graph.forget()
    else:
        graph.set_nodes(graph.nodes[:2])
    assert len(graph.readers("h")) == 1
