"""Every family is exported with the answers of torch, and quantized to 8 bits."""

from collections import Counter
from functools import cache

import numpy as np
import onnx
import pytest
import torch

from compress.measurement.cpu import this_cpu
from compress.measurement.macs.graph import count_macs
from compress.measurement.session import run, session
from compress.models.structure.find import find_groups
from compress.models.structure.transformers.groups import family_groups
from compress.onnx_graph.files import load_graph
from compress.pruning.cost.model import CostModel
from compress.quantization.calibration.observe import observe
from compress.quantization.cpu import integers_for
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.selection import WEIGHT_INPUT, select
from compress.quantization.static import activations, quantize_static
from tests.models.structure.cut_families import (
    EXPORTED,
    answers,
    cut_family,
    exported_family,
    layers_of,
    one_sample,
    units_of,
    whole_family,
)
from tests.models.structure.family_models import TRACED

FOLDED = ("relative_position_bias_table", "position_embedding.weight")
"""Swin's tables of biases and CLIP's positions are looked up once and for all by the exporter."""


@pytest.fixture(scope="module")
def family(exported_once):
    """A family that was cut, and its file."""

    @cache
    def made(name):
        cut = whole_family(name) if name in TRACED else cut_family(name)
        return cut, exported_family(name, cut, exported_once)

    return made


def another(inputs):
    """Three samples, and texts of another length than the example's."""
    inputs = {key: torch.cat([values, values[:1]]) for key, values in inputs.items()}
    short = "attention_mask" in inputs
    return {key: values[:, :9] for key, values in inputs.items()} if short else inputs


def read(answer, inputs):
    """What an answer says: what padding answers doesn't matter."""
    padded = "attention_mask" in inputs and answer.ndim == 3
    return answer[inputs["attention_mask"].numpy() != 0] if padded else answer


def answers_as_torch(cut, path, inputs):
    got = read(run(session(path, threads=1), inputs)[cut.task.output_names[0]], inputs)
    wanted = read(answers(cut.smaller, inputs, cut.task).numpy(), inputs)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_the_file_has_the_cut_shapes_predicted_macs_and_answers(name, family):
    cut, path = family(name)
    smaller = cut.smaller
    if name in ("bert", "gpt2"):
        left = {(group.kind, group.units) for group in family_groups(smaller, units=units_of(name))}
        widths = Counter(kind for kind, _ in left)
        assert widths["heads"] == widths["feed_forward"] == layers_of(name)
    single = {key: values[:1] for key, values in cut.inputs.items()}
    predicted = CostModel(cut.module, cut.groups, task=cut.task, inputs=single).predict(
        [len(units) for units in cut.gone]
    )
    assert count_macs(path, one_sample(path, cut.inputs)) == (predicted.macs, ())
    answers_as_torch(cut, path, another(cut.inputs))
    stored = {part.name: tuple(part.dims) for part in onnx.load(path).graph.initializer}
    seen = set()
    for parameter, tensor in smaller.named_parameters(remove_duplicate=False):
        shape, turned = tuple(tensor.shape), f"{parameter}.transposed"
        assert stored.get(parameter, shape) == shape
        assert stored.get(turned, shape[::-1]) == shape[::-1]
        if parameter in stored or turned in stored:
            seen.add(id(tensor))
    lost = {n for n, p in smaller.named_parameters() if id(p) not in seen and p.dim() > 1}
    assert all(lost_name.endswith(FOLDED) for lost_name in lost)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACED)
def test_a_family_that_is_not_described_answers_as_torch_at_any_length_and_padding(name, family):
    whole, path = family(name)
    answers_as_torch(whole, path, another(whole.inputs))
    answers_as_torch(whole, path, {key: x[:1, :3] for key, x in whole.inputs.items()})
    found = find_groups(whole.module, task=whole.task, inputs=whole.inputs, units=None)
    assert {group.kind for group in found.groups} == {"channels"}


def quantized(source, path, method, inputs):
    """The file in the 8-bit types of this CPU."""
    graph = load_graph(source)
    selection = select(graph, method=method)
    integers = integers_for(this_cpu().target, method=method)[0]
    if method == "dynamic":
        return quantize_dynamic(source, path=path, selection=selection, integers=integers)
    found = observe(source, activations(graph, selection), batches=[inputs], methods=["minmax"])
    ranges = found.ranges("minmax", percentile=99.9, integers=integers)
    return quantize_static(source, path=path, selection=selection, ranges=ranges, integers=integers)


def weights(path):
    """Sizes of the float weights that operators read, by the operators' types."""
    graph = load_graph(path)
    found = Counter()
    for node in graph.nodes:
        read = [graph.initializers.get(name) for name in node.input]
        sizes = [int(np.prod(x.dims)) for x in read if x is not None and x.data_type == 1]
        if node.op_type in (*WEIGHT_INPUT, "Einsum") and sizes:
            found[node.op_type] += max(sizes)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dynamic", "static"])
@pytest.mark.parametrize("name", [*EXPORTED, *TRACED])
def test_all_its_weights_are_in_8_bits_and_it_answers_nearly_alike(name, method, family, tmp_path):
    cut, source = family(name)
    path = quantized(source, tmp_path / "int8.onnx", method, cut.inputs)
    before, after = weights(source), weights(path)
    assert before["MatMul"] + before["Gemm"] > 0
    assert set(after) <= ({"Conv"} if method == "dynamic" else set())
    stored = [part for part in onnx.load(path).graph.initializer if part.data_type in (2, 3)]
    assert sum(int(np.prod(part.dims)) for part in stored) > 0.9 * (before - after).total() > 0
    kinds = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert kinds["MatMulInteger" if method == "dynamic" else "DequantizeLinear"] > 4
    wanted, got = (
        read(run(session(file, threads=1), cut.inputs)[cut.task.output_names[0]], cut.inputs)
        for file in (source, path)
    )
    assert np.square(got - wanted).mean() < 0.2 * wanted.var()
