"""Every form of a model answers as the exported graph does, and keeps what others address."""

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from compress.errors import StageError
from compress.graph_variants import variants as forms_module
from compress.graph_variants.variants import graph_variants
from compress.measurement.macs.graph import count_macs
from compress.measurement.params import count_params
from compress.measurement.session import run, session
from tests.graph_variants import models as fusion_models

SLOW = pytest.mark.slow
KINDS = {
    "uneven": {"lean", "attention"},
    "vit": {"lean", "attention"},
    "resnet": set(),
    "distilbert": {"lean", "attention"},
    "roberta": {"lean", "attention"},
    "gpt2": {"lean"},
    "llama": set(),
}
FAST = ("uneven", "vit", "resnet")
ALL = [kind if kind in FAST else pytest.param(kind, marks=SLOW) for kind in KINDS]


def answer(path, batch):
    return run(session(path, threads=1), batch)["logits"]


def described(path):
    model = onnx.load(path)
    values = [*model.graph.input, *model.graph.output]
    return [value.SerializeToString() for value in values], sorted(
        (entry.key, entry.value) for entry in model.metadata_props
    )


@pytest.mark.parametrize("kind", ALL)
def test_forms_answer_alike_at_every_shape(exported, tmp_path, kind):
    source = exported(kind)
    made = graph_variants(source, tmp_path, sample=fusion_models.sample(kind))
    assert made[0].path == source
    assert {form.name for form in made[1:]} == KINDS[kind]
    for rows, length in ((1, 1), (3, 12)):
        batch = fusion_models.sample(kind, rows, length)
        wanted = answer(source, batch)
        for form in made[1:]:
            assert np.abs(answer(form.path, batch) - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("kind", ["uneven", "vit"])
def test_forms_keep_what_others_address(exported, tmp_path, kind):
    source = exported(kind)
    weights = {t.name for t in onnx.load(source).graph.initializer if len(t.dims) > 1}
    products = {
        node.name
        for node in onnx.load(source).graph.node
        if node.op_type in ("MatMul", "Gemm") and weights.intersection(node.input)
    }
    for form in graph_variants(source, tmp_path)[1:]:
        assert form.portable
        assert described(form.path) == described(source)
        graph = onnx.load(form.path).graph
        assert weights <= {tensor.name for tensor in graph.initializer}
        assert products <= {node.name for node in graph.node}
        assert count_params(form.path) == count_params(source)


def test_macs_fall_by_the_rows_that_nobody_reads(exported, tmp_path):
    source, batch = exported("uneven"), fusion_models.texts(1, 7)
    batch = {name: values.numpy() for name, values in batch.items()}
    # Of the last layer: queries, attention's two products, its output and the feed-forward part.
    row = 32 * 32 + 2 * 7 * 32 + 32 * 32 + 2 * 32 * 48
    for form in graph_variants(source, tmp_path)[1:]:
        assert count_macs(form.path, batch).total == count_macs(source, batch).total - 6 * row


def test_quantized_forms_keep_their_counts(exported, tmp_path):
    source, batch = exported("uneven"), fusion_models.texts(2, 7)
    arrays = {name: values.numpy() for name, values in batch.items()}
    for form in graph_variants(source, tmp_path)[1:]:
        target = tmp_path / f"{form.name}-int8.onnx"
        quantize_dynamic(
            form.path,
            target,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        kinds = [node.op_type for node in onnx.load(target).graph.node]
        assert kinds.count("MatMulInteger") == 14  # 6 of each layer, and two of the head
        assert count_params(target) == count_params(source)
        assert count_macs(target, arrays) == count_macs(form.path, arrays)
        wanted = answer(form.path, batch)
        assert np.abs(answer(target, batch) - wanted).max() < 0.1 * np.abs(wanted).max()


def test_a_rewrite_that_changes_answers_is_refused(exported, tmp_path, monkeypatch):
    def wrong(model):
        node = next(n for n in model.graph.node if n.op_type == "Tanh")
        node.op_type = "Sigmoid"
        return 1

    monkeypatch.setitem(forms_module.RECIPES, "lean", (wrong,))
    monkeypatch.setitem(forms_module.MARKS, "lean", (wrong,))
    monkeypatch.setitem(forms_module.WORDS, wrong, "{}")
    with pytest.raises(StageError, match="answers 'logits' otherwise"):
        graph_variants(exported("uneven"), tmp_path, sample=fusion_models.texts())
