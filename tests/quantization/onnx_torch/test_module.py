"""A graph as a torch module answers as onnxruntime does, and trains."""

import copy

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from compress.errors import StageError
from compress.onnx_graph.graph import Graph
from compress.quantization.integers import Integers
from compress.quantization.onnx_torch.module import GraphModule
from tests.quantization.models import digits, texts
from tests.quantization.onnx_torch.models import (
    SHARED,
    TASK_OF,
    exported,
    inputs_of,
    module_answers,
    module_of,
    plain_answers,
    quantized,
    same_up_to_steps,
)

QUICK = ("inverted", "convnext")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TASK_OF
    ],
)
def family(request, exported_model, tmp_path_factory):
    if request.param in SHARED:
        return request.param, exported_model(request.param)[1]
    path = tmp_path_factory.mktemp("families") / f"{request.param}.onnx"
    return request.param, exported(request.param, path)


def test_each_family_answers_as_onnxruntime_at_other_sizes(family):
    name, path = family
    module = copy.deepcopy(GraphModule(Graph(onnx.load(path))))
    for batch in (inputs_of(name, 3, 6), inputs_of(name, 1, 12)):
        want = plain_answers(path, batch)
        got = module_answers(module, batch)
        assert np.abs(want).max() > 1e-3
        assert np.abs(got - want).max() < 1e-5 * max(1, np.abs(want).max())


def test_gradients_are_those_of_the_module_that_was_exported(family):
    name, path = family
    module, graph = module_of(name), GraphModule(Graph(onnx.load(path)))
    batch = inputs_of(name)
    if "attention_mask" in batch:  # what stands at padding isn't defined
        batch["attention_mask"] = torch.ones_like(batch["attention_mask"])
    answers = module(**batch) if name != "inverted" else module(*batch.values())
    answers = answers if torch.is_tensor(answers) else answers.logits
    answers.square().sum().backward()
    graph(*batch.values()).square().sum().backward()
    wanted = {key: p.grad for key, p in module.named_parameters() if p.grad is not None}
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    compared = 0
    for own, want in wanted.items():
        # A table that is also the last product's weight is stored once more, transposed.
        names = [name for name in (own, f"{own}.transposed") if name in graph.keys]
        found = [graph.tensor(name).grad for name in names]
        if found and all(gradient is not None for gradient in found):
            total = sum(g.T if n != own else g for n, g in zip(names, found, strict=True))
            assert torch.allclose(total, want, rtol=1e-3, atol=1e-5 * largest), own
            compared += 1
    assert compared > 4


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(
    "integers", [Integers(), Integers("int8", "int8"), Integers("uint8", "uint8", True)], ids=str
)
def test_a_quantized_cnn_answers_as_onnxruntime(cnn, tmp_path, integers, per_channel):
    images, _ = digits()
    path = quantized(
        cnn, tmp_path / "q.onnx", [{"pixel_values": images[:64]}], integers, per_channel=per_channel
    )
    batch = {"pixel_values": images[1400:]}
    want = plain_answers(path, batch)
    step = np.unique(np.diff(np.unique(want.round(4)))).min()
    got = module_answers(GraphModule(Graph(onnx.load(path))), batch)
    assert same_up_to_steps(got, want, step=2 * step, share=0.02)
    assert (got.argmax(-1) == want.argmax(-1)).mean() > 0.995


def test_a_quantized_transformer_answers_as_onnxruntime(transformer, tmp_path):
    path = quantized(transformer, tmp_path / "q.onnx", [texts(8, 12)], Integers())
    batch = texts(20, 7)
    want = plain_answers(path, batch)
    got = module_answers(GraphModule(Graph(onnx.load(path))), batch)
    assert (np.abs(got - want) > 1e-5).mean() < 0.1
    assert np.abs(got - want).max() < 0.05 * np.abs(want).max()


def test_no_value_lives_longer_than_its_last_use(cnn):
    module = GraphModule(Graph(onnx.load(cnn)))
    alive, most = set(module.inputs), 0
    for step in module.steps:
        assert {name for name in step.inputs if name not in module.keys} <= alive
        alive |= set(step.outputs)
        most = max(most, len(alive))
        alive -= set(step.forget)
    assert alive == set(module.outputs)
    assert most <= 4


def test_values_in_between_are_given_and_nothing_after_them_is_run(cnn):
    module = GraphModule(Graph(onnx.load(cnn)))
    images, _ = digits()
    first = module.steps[0].outputs[0]
    module.steps = (*module.steps[:1], *module.steps[:0])
    found = module.values([images[:2]], (first, "pixel_values"))
    assert found[first].shape[:2] == (2, 8)
    assert found["pixel_values"] is not None
    with pytest.raises(StageError, match="no value 'nothing'"):
        module.values([images[:2]], ("nothing",))
    with pytest.raises(StageError, match="takes pixel_values"):
        module.values([], (first,))


def _graph(*nodes, opset=20):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, None)], [value("y", TensorProto.FLOAT, None)]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_graph(helper.make_node("Einsum", ["x"], ["y"], name="e")), "'e' is a Einsum"),
        (
            _graph(helper.make_node("Gelu", ["x"], ["y"], name="g", domain="com.microsoft")),
            "'g' is a com.microsoft.Gelu",
        ),
        (_graph(helper.make_node("Relu", ["x"], ["y"]), opset=11), "13 or newer: 11"),
    ],
)
def test_what_is_not_known_is_refused_by_name(model, message):
    with pytest.raises(StageError, match=message):
        GraphModule(Graph(model))
