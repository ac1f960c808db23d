"""A whole recipe for rerankers, the losses over lists, and what a label may be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import compress
from compress.errors import CompressError, DataError, InputError
from compress.models.checkpoint import load_checkpoint
from compress.recipe.load import recipe_from_dict
from compress.tasks.ranking_metrics import ndcg, placed
from compress.tasks.registry import find_task
from compress.tasks.texts import ranking_losses as losses
from compress.tasks.texts.documents import gains_in
from compress.tasks.texts.ranking import TextRanking
from compress.testing import check_task
from tests.tasks import texts
from tests.tasks.test_tensors import EVALUATION, training
from tests.tasks.test_text_regression import said, verified

ONE_NUMBER = {**texts.CONFIG, "num_labels": 1}
NARROW = {"width": {"intermediate_size": 24}}
DOCUMENTS = ["red", "tree", "boat"]


def test_rankings_go_the_whole_way(tmp_path: Path) -> None:
    values = texts.recipe(
        tmp_path / "data",
        "ranking",
        task="text-ranking",
        model={"config": ONE_NUMBER},
        data={"max_length": 16},
        stages=[
            {"use": "train", **training(5, 0.01)},
            {"use": "distill", "student": NARROW, **training(4, 0.01)},
            {"use": "prune", "target": {"macs": 0.7}, "round_to": 1, "recovery": training(1)},
            {"use": "export", "name": "float"},
            {"use": "quantize", "method": "dynamic", "evaluation": EVALUATION},
            {"use": "export"},
        ],
    )
    report = compress.run(recipe_from_dict(values), output=tmp_path / "run", threads=1)
    original, trained, distilled, pruned, _, small, final = report.stages
    assert trained.quality.metric == "ndcg_at_10"
    assert original.quality.value < 0.9 < trained.quality.value
    assert distilled.quality.value > 0.9
    assert pruned.macs < 0.75 * distilled.macs
    assert small.quality.value > pruned.quality.value - 0.1
    assert small.quality.samples == 80, "queries count, not pairs"
    assert "infer.py on 8 raw samples" in " ".join(final.notes)
    assert verified(tmp_path / "run") == {"ok"}
    check_bundle(tmp_path, tmp_path / "run/stages/04-float/bundle")


def check_bundle(folder: Path, bundle: Path) -> None:
    """The script's scores are torch's, and its order is theirs."""
    rows = texts.rows_of("ranking", 4, seed=5)
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = said(bundle, "--jsonl", str(path))
    for one, row, scores in zip(
        found, rows, of_torch(folder / "run/stages/03-prune", bundle, rows), strict=True
    ):
        assert [each["document"] for each in one] == np.argsort(-scores, kind="stable").tolist()
        np.testing.assert_allclose([each["score"] for each in one], -np.sort(-scores), atol=1e-4)
        assert [row["documents"][each["document"]] for each in one] == [x["text"] for x in one]
    assert "CrossEncoder(" in (folder / "run/README.md").read_text()
    assert TextRanking.model_file is not None
    assert (bundle / "model.mjs").read_text() == TextRanking.model_file.read_text()
    packages = json.loads((bundle / "package.json").read_text())["dependencies"]
    assert "@huggingface/tokenizers" in packages
    assert {"infer.mjs", "encode.mjs", "session.mjs", "index.html"} <= {
        path.name for path in bundle.iterdir()
    }
    (again,) = said(bundle, rows[0]["query"], *rows[0]["documents"])
    assert [each["document"] for each in again] == [each["document"] for each in found[0]]


def of_torch(stage: Path, bundle: Path, rows: list[Any]) -> list[Any]:
    """The scores of each row's documents."""
    from transformers import AutoTokenizer

    module, _ = load_checkpoint(stage)
    tokenizer = AutoTokenizer.from_pretrained(bundle)
    found = []
    for row in rows:
        pairs = [(row["query"], each) for each in row["documents"]]
        given = tokenizer(pairs, return_tensors="pt", padding=True)
        with torch.no_grad():
            found.append(module(**given).logits[:, 0].numpy())
    return found


@pytest.mark.parametrize(
    "arguments", [{}, {"loss": "pointwise", "distance": "listwise"}], ids=["lists", "pairs"]
)
def test_it_keeps_the_contract(arguments: dict[str, str], tmp_path: Path) -> None:
    samples = [{**row, "labels": row["label"]} for row in texts.rows_of("ranking", 6)]
    check_task(
        TextRanking(**arguments),
        texts.module("AutoModelForSequenceClassification", num_labels=1),
        samples,
        directory=tmp_path,
        preprocessor=texts.preprocessor(),
    )


def test_a_batch_holds_whole_queries_one_after_another(tmp_path: Path) -> None:
    artifact, context = compress.load(
        model={"config": ONE_NUMBER},
        task="text-ranking",
        data=texts.write_splits(tmp_path, "ranking", 24),
    )
    loader = context.data.loader("train", artifact.preprocessor, batch_size=7, shuffle_seed=1)
    first, second = ([batch["about.sample"] for batch in loader] for _ in range(2))
    for epoch in (first, second):
        assert {len(each) for each in epoch[:-1]} == {7}
        changes = torch.cat(epoch).diff() != 0
        assert int(changes.sum()) == len(torch.unique(torch.cat(epoch))) - 1
    assert not torch.equal(torch.cat(first), torch.cat(second))


def grouped() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    queries = torch.tensor([0, 0, 0, 3, 3])
    return torch.randn(5), torch.randn(5), torch.tensor([0.0, 2.0, 1.0, 1.0, 0.0]), queries


def test_listwise_is_the_cross_entropy_of_each_querys_softmax() -> None:
    scores, _, gains, queries = grouped()
    wanted = [
        -(share * functional.log_softmax(own, 0)).sum()
        for own, share in (
            (scores[:3], torch.tensor([0, 2 / 3, 1 / 3])),
            (scores[3:], torch.tensor([1.0, 0.0])),
        )
    ]
    found = losses.listwise(scores, gains, queries)
    assert float(found) == pytest.approx(float(sum(wanted) / 2), rel=1e-6)
    nothing = torch.tensor([0.0, 2.0, 1.0, 0.0, 0.0])
    assert float(losses.listwise(scores, nothing, queries)) == pytest.approx(float(wanted[0]))
    assert float(losses.listwise(scores, torch.zeros(5), queries)) == 0


def test_margins_are_of_documents_of_one_query_and_of_other_gains() -> None:
    ours, theirs, gains, queries = grouped()
    pairs = [(1, 0), (1, 2), (2, 0), (3, 4)]
    wanted = np.mean([float((ours[a] - ours[b]) - (theirs[a] - theirs[b])) ** 2 for a, b in pairs])
    assert float(losses.margin_mse(ours, theirs, gains, queries)) == pytest.approx(wanted, rel=1e-5)
    # A constant of each query changes nothing.
    moved = theirs + torch.tensor([5.0, 5.0, 5.0, -1.0, -1.0])
    assert float(losses.margin_mse(ours, moved, gains, queries)) == pytest.approx(wanted, rel=1e-4)
    assert float(losses.margin_mse(ours, ours, None, queries)) == 0
    assert float(losses.margin_mse(ours, theirs, None, queries)) > 0


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_divergence_is_that_of_each_querys_softmax(temperature: float) -> None:
    ours, theirs, _, queries = grouped()
    wanted = sum(
        functional.kl_div(
            functional.log_softmax(ours[part] / temperature, 0),
            functional.log_softmax(theirs[part] / temperature, 0),
            log_target=True,
            reduction="sum",
        )
        for part in (slice(0, 3), slice(3, 5))
    )
    found = losses.listwise_divergence(ours, theirs, queries, temperature=temperature)
    assert float(found) == pytest.approx(float(wanted) / 2 * temperature**2, rel=1e-5)


def test_metrics_are_over_queries_and_those_without_a_relevant_document_dont_count() -> None:
    metric, *_, agreement = TextRanking().table_of_metrics()
    scores, gains = np.array([0.1, 0.7, 0.3]), np.array([1.0, 0.0, 2.0])
    assert metric.rows is not None
    assert metric.joined is not None
    assert metric.value is not None
    pairs = metric.rows({"logits": scores[:, None]}, {"labels": gains})
    row = metric.joined(pairs)
    assert row.tolist() == [ndcg(placed(scores, gains), most=10), 1]
    none = metric.joined(np.array([[0.3, 0.0], [0.1, 0.0]]))
    assert none.tolist() == [0, 0]
    assert metric.value((row + none)[None]) == row[0]
    assert np.isnan(metric.value(none[None]))
    assert agreement.joined is not None
    assert agreement.joined(np.array([[0.1, 5.0], [0.2, 7.0]])).tolist() == [1]
    assert agreement.joined(np.array([[0.3, 5.0], [0.2, 7.0]])).tolist() == [0]


@pytest.mark.parametrize(("label", "gains"), [(1, [0, 1, 0]), ([0, 0.5, 3], [0, 0.5, 3])])
def test_a_label_is_a_gain_for_each_or_the_relevant_one(label: Any, gains: list[float]) -> None:
    assert gains_in(label, DOCUMENTS) == gains


@pytest.mark.parametrize(
    "label", [3, -1, True, None, "1", [1, 0], [0, -1, 2], [0, float("nan"), 1]]
)
def test_other_labels_are_refused(label: Any) -> None:
    with pytest.raises(DataError, match=r"a list of 3 numbers of at least 0, .*, from 0 to 2"):
        gains_in(label, DOCUMENTS)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"documents": "red"}, "row 3 of split 'train': 'documents' must be a list of one text"),
        ({"documents": ["red", ""], "label": 0}, "'documents' must be a text that isn't empty"),
        ({"label": 9}, "row 3 of split 'train': the label must be a list of"),
        ({"query": ""}, "'query' must be a text that isn't empty"),
    ],
)
def test_a_sample_that_is_wrong_is_told_before_training(
    change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    data = {**texts.broken(tmp_path, "ranking", **change), "limit": {"train": 10}}
    with pytest.raises(CompressError, match=sentence):
        compress.load(model={"config": ONE_NUMBER}, task="text-ranking", data=data)


@pytest.mark.parametrize("arguments", [{"loss": "pairwise"}, {"distance": "mse"}])
def test_other_losses_are_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(InputError, match="must be one of"):
        find_task("text-ranking", arguments)
