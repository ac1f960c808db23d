"""A whole recipe for masked tokens, and which tokens are masked."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import compress
from compress.errors import CompressError
from compress.models.checkpoint import load_checkpoint
from compress.recipe.load import recipe_from_dict
from compress.tasks.registry import find_task
from compress.tasks.texts.masks import chosen_tokens, partly_masked
from compress.testing import check_task
from tests.tasks import texts
from tests.tasks.test_tensors import EVALUATION, training
from tests.tasks.test_text_regression import said, verified

NONE = -100


def test_masks_go_the_whole_way(tmp_path: Path) -> None:
    values = texts.recipe(
        tmp_path / "data",
        "plain",
        task="fill-mask",
        data={"max_length": 12},
        gates={"perplexity_ratio": 3.0},
        stages=[
            {"use": "train", **training(6, 0.01)},
            {"use": "distill", "student": {"width": {"hidden_size": 16}}, **training(6, 0.01)},
            {"use": "export", "name": "float"},
            {"use": "quantize", "method": "auto", "budget": 0.1, "evaluation": EVALUATION},
            {"use": "export"},
        ],
    )
    report = compress.run(recipe_from_dict(values), output=tmp_path / "run", threads=1)
    original, trained, student, _, small, final = report.stages
    assert trained.quality.metric == "pseudo_perplexity"
    assert not trained.quality.higher_is_better
    assert trained.quality.value < 0.1 * original.quality.value
    assert student.params < 0.6 * trained.params
    assert small.quality.value < 1.2 * student.quality.value
    assert "infer.py on 8 raw samples" in " ".join(final.notes)
    assert verified(tmp_path / "run") == {"ok"}
    bundle = tmp_path / "run/stages/03-float/bundle"
    text = "red boat red [MASK] red boat"
    (found,) = said(bundle, text)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bundle)
    module, _ = load_checkpoint(tmp_path / "run/stages/02-distill")
    given = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        scores = module(**given).logits[0]
    place = given["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    best = scores[place].softmax(-1).topk(5)
    (mask,) = found["masks"]
    assert [one["token"] for one in mask] == [
        tokenizer.decode([number]).strip() for number in best.indices.tolist()
    ]
    np.testing.assert_allclose([one["probability"] for one in mask], best.values.numpy(), atol=1e-4)
    assert found["text"].split() == ["red", "boat", "red", mask[0]["token"], "red", "boat"]


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_task(
        find_task("fill-mask"),
        texts.module("AutoModelForMaskedLM"),
        [{"text": row["text"]} for row in texts.rows_of("plain", 6)],
        directory=tmp_path,
        preprocessor=texts.preprocessor(),
    )


def test_the_seed_and_the_text_decide_which_tokens_are_masked() -> None:
    special = np.array([0, 1, 2])
    ids = np.array([1, *range(10, 2010), 2, 0, 0])
    random = np.random.default_rng(0)
    chosen = chosen_tokens(ids, special, fraction=0.15, random=random)
    assert not chosen[[0, -3, -2, -1]].any()
    assert 0.12 < chosen[1:-3].mean() < 0.18
    for word in range(10, 40):  # a short text has a mask too, and one of special tokens has none
        assert chosen_tokens(np.array([1, word, 2]), special, fraction=0.01, random=random)[1]
    assert not chosen_tokens(np.array([1, 2]), special, fraction=0.5, random=random).any()
    preprocessor, samples = texts.preprocessor(), texts.rows_of("plain", 8)
    each = [
        find_task("fill-mask", {"seed": seed}).collate(samples, preprocessor=preprocessor)
        for seed in (0, 0, 1)
    ]
    assert torch.equal(each[0]["labels"], each[1]["labels"])
    assert not torch.equal(each[0]["labels"], each[2]["labels"])


def test_training_sees_random_tokens_and_true_ones_too() -> None:
    random = np.random.default_rng(0)
    ids = random.integers(10, 300, 20_000)
    masked = np.where(np.arange(len(ids)) % 2, 4, ids)
    given = partly_masked(ids, masked, np.arange(5, 1005), random=random)
    assert (given[::2] == ids[::2]).all()
    odd, true = given[1::2], ids[1::2]
    assert 0.78 < (odd == 4).mean() < 0.82
    assert 0.08 < (odd == true).mean() < 0.12
    other = odd[(odd != 4) & (odd != true)]
    assert 0.08 < len(other) / len(odd) < 0.12
    assert other.min() >= 5
    assert len(np.unique(other)) > 500
    # those of the train split alone, with the same labels
    task, preprocessor = find_task("fill-mask", {"mask_fraction": 0.5}), texts.preprocessor()
    samples, mask = texts.rows_of("plain", 40), preprocessor.tokenizer.mask_token_id
    trained = task.collate_for_training(samples, preprocessor=preprocessor)
    measured = task.collate(samples, preprocessor=preprocessor)
    assert torch.equal(trained["labels"], measured["labels"])
    chosen = measured["labels"] != NONE
    assert (measured["input_ids"][chosen] == mask).all()
    assert torch.equal(trained["input_ids"][~chosen], measured["input_ids"][~chosen])
    assert 0.7 < (trained["input_ids"][chosen] == mask).float().mean() < 0.9
    special = torch.tensor(preprocessor.tokenizer.all_special_ids)
    others = trained["input_ids"][chosen & (trained["input_ids"] != mask)]
    assert not torch.isin(others, special).any()


def test_the_train_split_alone_is_masked_in_part(tmp_path: Path) -> None:
    artifact, context = compress.load(
        model={"config": texts.CONFIG},
        task="fill-mask",
        data=texts.write_splits(tmp_path, "plain", 120),
    )
    mask = artifact.require_preprocessor().tokenizer.mask_token_id
    masked = {}
    for split in ("train", "validation", "calibration"):
        loader = context.data.loader(split, artifact.preprocessor, batch_size=32)
        chosen = [batch["input_ids"][batch["labels"] != NONE] for batch in loader]
        masked[split] = float((torch.cat(chosen) == mask).float().mean())
    assert masked["validation"] == masked["calibration"] == 1
    assert masked["train"] < 0.95


def test_batches_mask_the_same_tokens_each_time_whatever_is_beside_them() -> None:
    task, preprocessor = find_task("fill-mask"), texts.preprocessor()
    samples = texts.rows_of("plain", 4)
    batch = task.collate(samples, preprocessor=preprocessor)
    mask = preprocessor.tokenizer.mask_token_id
    masked = batch["labels"] != NONE
    assert masked.any(1).all()
    assert torch.equal(batch["input_ids"] == mask, masked)
    plain = preprocessor([row["text"] for row in samples])["input_ids"]
    assert torch.equal(torch.where(masked, batch["labels"], batch["input_ids"]), plain)
    alone = task.collate(samples[2:3], preprocessor=preprocessor, fixed_length=True)
    width = batch["input_ids"].shape[1]
    assert torch.equal(alone["input_ids"][0, :width], batch["input_ids"][2])
    raw = task.raw_inputs(samples, preprocessor=preprocessor)
    assert torch.equal(raw["input_ids"], plain)


def test_pseudo_perplexity_is_that_of_masked_tokens() -> None:
    metric = find_task("fill-mask").table_of_metrics()[0]
    assert metric.rows is not None
    assert metric.value is not None
    # probabilities of the labels: 1/2 and 1/4 in the first text, 1 in the second
    scores = np.log(np.array([[[0.5, 0.5], [0.75, 0.25]], [[1.0, 1e-30], [0.3, 0.7]]]))
    labels = {"labels": np.array([[0, 1], [0, NONE]])}
    rows = metric.rows({"logits": scores}, labels)
    np.testing.assert_allclose(rows, [[math.log(8), 2], [0, 1]], atol=1e-9)
    # three tokens whose product of probabilities is 1/8
    assert metric.value(rows.sum(0)[None])[0] == pytest.approx(2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"mask_fraction": 1.0}, "'mask_fraction' must be a number between 0 and 1"),
        ({"seed": -1}, "'seed' must be a whole number, at least 0"),
    ],
)
def test_arguments_are_bounded(arguments: dict[str, float], sentence: str) -> None:
    with pytest.raises(CompressError, match=sentence):
        find_task("fill-mask", arguments)


def test_an_empty_text_is_told_before_training(tmp_path: Path) -> None:
    data = {**texts.broken(tmp_path, "plain", text=""), "limit": {"train": 10}}
    with pytest.raises(CompressError, match="row 3 of split 'train': 'text' must be a text that"):
        compress.load(model={"config": texts.CONFIG}, task="fill-mask", data=data)
