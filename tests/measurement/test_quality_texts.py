"""Quality of small language models and encoders, from their ONNX files."""

import pytest
import torch
from torch.nn import functional as F

from compress.errors import DataError, StageError
from compress.exporting.to_onnx import export_module
from compress.measurement.quality import Reference, measure_quality
from compress.tasks.task import TASKS


def batches(*sizes, labels=True):
    torch.manual_seed(0)
    for size, length in sizes:
        ids = torch.randint(1, 40, (size, length))
        mask = torch.ones_like(ids)
        mask[-1, length // 2 :] = 0
        batch = {"input_ids": ids, "attention_mask": mask}
        if labels:
            batch["labels"] = torch.where(mask == 1, ids, -100)
        yield batch


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32,
        initializer_range=0.5, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    module = LlamaForCausalLM(config).eval()
    path = tmp_path_factory.mktemp("llama") / "model.onnx"
    task = TASKS["text-generation"]
    return module, export_module(
        module, task=task, example=next(batches((2, 9))), path=path, labels=()
    )


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=32, initializer_range=0.5,
    )  # fmt: skip
    paths = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        module = BertModel(config).eval()
        path = tmp_path_factory.mktemp("encoder") / "model.onnx"
        example = next(batches((2, 9), labels=False))
        task = TASKS["feature-extraction"]
        paths.append(export_module(module, task=task, example=example, path=path, labels=()))
    return paths


def test_perplexity_of_a_file_is_that_of_its_module(llama):
    module, path = llama
    loader = list(batches((3, 12), (2, 7)))
    found = measure_quality(path, loader=loader, metric="perplexity", target="next-token")
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
    alone = measure_quality(model, loader=loader, metric="spearman", target="none")
    assert alone.value == pytest.approx(1)
    same = measure_quality(
        model, loader=loader, metric="recall_at_1", target="none", reference=Reference(model)
    )
    assert same.value == 1
    far = measure_quality(
        model, loader=loader, metric="spearman", target="none", reference=Reference(other)
    )
    assert -0.5 < far.value < 0.95
    assert far.samples == 14


def test_the_reference_may_read_the_samples_in_its_own_way(encoders):
    model, other = encoders
    loader = list(batches((8, 10), labels=False))
    own = [{**batch, "input_ids": (batch["input_ids"] + 1) % 40} for batch in loader]
    values = {
        measure_quality(
            model, loader=loader, metric="spearman", target="none", reference=reference
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
            target="none",
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
        measure_quality(llama[1], loader=loader, metric="perplexity", target="next-token")
