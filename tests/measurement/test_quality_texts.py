"""Quality of small language models and encoders, from their ONNX files."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch.nn import functional as F

from compress.errors import DataError, StageError
from compress.measurement.quality import Reference, measure_quality
from compress.tasks.task import TASKS

FEATURES, TEXTS = TASKS["feature-extraction"], TASKS["text-generation"]


def batches(*sizes, labels=True):
    torch.manual_seed(0)
    for size, length in sizes:
        ids = torch.randint(1, 40, (size, length))
        mask = torch.ones_like(ids)
        mask[-1, length // 2 :] = 0
        batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
        if labels:
            batch["labels"] = torch.where(mask == 1, ids, -100)
        yield batch


@pytest.fixture(scope="module")
def llama(exported_model):
    return exported_model("llama")


@pytest.fixture(scope="module")
def encoders(exported_model, tmp_path_factory):
    """The files of two encoders of the same graph."""
    _, path = exported_model("encoder")
    model, generator = onnx.load(path), np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2 and tensor.data_type == TensorProto.FLOAT:
            values = generator.normal(size=tensor.dims).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    other = tmp_path_factory.mktemp("encoder") / "other.onnx"
    onnx.save(model, other)
    return path, other


def test_perplexity_of_a_file_is_that_of_its_module(llama):
    module, path = llama
    loader = list(batches((3, 12), (2, 7)))
    found = measure_quality(path, loader=loader, metric="perplexity", task=TEXTS)
    loss = count = 0.0
    with torch.no_grad():
        for batch in loader:
            scores = module(batch["input_ids"], batch["attention_mask"]).logits[:, :-1]
            wanted = batch["labels"][:, 1:].flatten()
            loss += F.cross_entropy(scores.flatten(0, 1), wanted, reduction="sum")
            count += int((wanted != -100).sum())
    assert found.value == pytest.approx(float(torch.exp(loss / count)), rel=1e-4)
    assert not found.higher_is_better
    assert found.samples == 5


def test_embeddings_against_a_reference(encoders):
    model, other = encoders
    loader = list(batches((8, 10), (6, 8), labels=False))
    alone = measure_quality(model, loader=loader, metric="spearman", task=FEATURES)
    assert alone.value == pytest.approx(1)
    same = measure_quality(
        model, loader=loader, metric="recall_at_1", task=FEATURES, reference=Reference(model)
    )
    assert same.value == 1
    far = measure_quality(
        model, loader=loader, metric="spearman", task=FEATURES, reference=Reference(other)
    )
    assert -0.5 < far.value < 0.95
    assert far.samples == 14


def test_the_reference_may_read_the_samples_in_its_own_way(encoders):
    model, other = encoders
    loader = list(batches((8, 10), labels=False))
    own = [{**batch, "input_ids": (batch["input_ids"] + 1) % 40} for batch in loader]
    values = {
        measure_quality(
            model, loader=loader, metric="spearman", task=FEATURES, reference=reference
        ).value
        for reference in (Reference(other), Reference(other, own))
    }
    assert len(values) == 2
    short = [{name: values[:3] for name, values in loader[0].items()}]
    with pytest.raises(StageError, match="answer 8 and 3 samples"):
        measure_quality(
            model,
            loader=loader,
            metric="spearman",
            task=FEATURES,
            reference=Reference(other, short),
        )


def test_scores_of_another_shape_are_refused(encoders):
    loader = list(batches((2, 6)))
    with pytest.raises(
        StageError, match=r"must be scores of shape \(2, classes\). Got \(2, 6, 16\)"
    ):
        measure_quality(encoders[0], loader=loader, metric="accuracy")


def test_labels_that_are_all_unknown(llama):
    loader = [
        {**batch, "labels": torch.full_like(batch["labels"], -100)} for batch in batches((2, 6))
    ]
    with pytest.raises(DataError, match="no labelled samples to measure perplexity on"):
        measure_quality(llama[1], loader=loader, metric="perplexity", task=TEXTS)
