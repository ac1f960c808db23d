"""Questions without an answer, as in SQuAD 2.0: a whole recipe, and the rule with numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import compress
from compress.core.batch import SAMPLE
from compress.errors import CompressError
from compress.measurement.metrics.registry import metric_named
from compress.measurement.metrics.tally import Answer
from compress.models.checkpoint import load_checkpoint
from compress.recipe.load import recipe_from_dict
from compress.tasks.registry import find_task
from compress.tasks.texts.right_answers import right_answers
from compress.tasks.texts.squad import exact_match, token_f1
from tests.tasks import texts
from tests.tasks.test_tensors import training
from tests.tasks.test_text_regression import said, verified

UNANSWERABLE = {"unanswerable": True}
NONE: dict[str, Any] = {"text": [], "answer_start": []}


def test_a_bundle_says_that_there_is_no_answer(tmp_path: Path) -> None:
    values = texts.recipe(
        tmp_path / "data",
        "unsure",
        task={"name": "question-answering", "arguments": {**UNANSWERABLE, "stride": 2}},
        data={"max_length": 11},
        stages=[{"use": "train", **training(12, 0.01)}, {"use": "export"}],
    )
    report = compress.run(recipe_from_dict(values), output=tmp_path / "run", threads=1)
    original, trained, _ = report.stages
    assert trained.quality.value > original.quality.value + 0.1
    assert verified(tmp_path / "run") == {"ok"}
    rows = texts.rows_of("unsure", 24, seed=7)
    bundle = tmp_path / "run/stages/02-export/bundle"
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = said(bundle, "--jsonl", str(path))
    nulls = null_scores(tmp_path / "run/stages/01-train", bundle, rows)
    for one, row, null in zip(found, rows, nulls, strict=True):
        assert one["null_score"] == pytest.approx(null, abs=1e-3)
        if one["null_score"] > one["score"]:
            assert (one["answer"], one["start"], one["end"]) == ("", 0, 0)
        else:
            assert one["answer"] == row["context"][one["start"] : one["end"]] != ""
    empty = [one["answer"] == "" for one in found]
    assert any(empty)
    assert not all(empty)


def null_scores(stage: Path, bundle: Path, rows: list[Any]) -> list[float]:
    """The least sum of the first token's scores of each row's windows, as transformers cuts."""
    from transformers import AutoTokenizer

    module, _ = load_checkpoint(stage)
    tokenizer = AutoTokenizer.from_pretrained(bundle)
    found = []
    for row in rows:
        given = tokenizer(
            row["question"],
            row["context"],
            truncation="only_second",
            max_length=11,
            stride=2,
            return_overflowing_tokens=True,
        )
        sums = []
        for ids in given["input_ids"]:
            with torch.no_grad():
                out = module(torch.tensor([ids]))
            sums.append(float(out.start_logits[0, 0] + out.end_logits[0, 0]))
        found.append(min(sums))
    return found


def test_the_first_token_is_the_label_of_no_answer(tmp_path: Path) -> None:
    assert right_answers(NONE, "red boat") == []
    assert right_answers([], "red boat") == []
    task, row = find_task("question-answering", UNANSWERABLE), texts.rows_of("question", 1)[0]
    samples = [{**row, "labels": NONE}, {**row, "labels": row["answers"]}]
    for side, first in (("right", 0), ("left", 1)):
        preprocessor = texts.preprocessor()
        preprocessor.tokenizer.padding_side = side
        for sample in samples:
            task.check_sample(sample, preprocessor=preprocessor)
        # the second has a longer context, so that the first is padded
        longer = {**samples[1], "context": f"{row['context']} tree"}
        batch = task.collate([samples[0], longer], preprocessor=preprocessor)
        assert batch["labels.start_logits"][0] == batch["labels.end_logits"][0] == first
        assert batch["about.first"].tolist() == [first, 0]
        assert batch["labels.start_logits"][1] > 0
        alone = task.collate(samples[:1], preprocessor=preprocessor)
        assert (alone["about.answers"] < 0).all()


@pytest.mark.parametrize(("threshold", "wanted"), [(0.0, 3 / 4), (2.0, 2 / 4), (-1.0, 1)])
def test_no_answer_wins_by_more_than_the_threshold(threshold: float, wanted: float) -> None:
    """Sample 0 has an answer in its second window, 1 an answer, 2 and 3 have none."""
    arguments = {**UNANSWERABLE, "null_threshold": threshold}
    task = find_task("question-answering", arguments)
    metric = metric_named("exact_match", task=task)
    samples = np.array([0, 0, 1, 2, 3])
    # scores of the first token, and of the two tokens of the context "red boat"
    start = np.array([[3.0, 0, 0], [0.5, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0.5, 0]])
    end = np.array([[3.0, 0, 0], [0.5, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]])
    # null scores: 6 and 1 (the least counts), 0, 2, 0; best spans: 0 and 2, 2, 0, 0.5
    right = ["red", "red", "boat", "", ""]
    count = len(samples)
    batch = {
        SAMPLE: samples,
        "about.first": np.zeros(count, np.int64),
        "about.offsets": np.array([[(-1, -1), (0, 3), (4, 8)]] * count),
        "about.text": np.array([[ord(letter) for letter in "red boat"]] * count),
        "about.answers": np.array(
            [[[ord(x) for x in text] + [-1] * (4 - len(text))] for text in right]
        ),
    }
    outputs = {"start_logits": start, "end_logits": end}
    tally = metric.tally(())
    tally.add(Answer(start, batch, outputs=outputs))
    assert tally.samples == 4
    assert tally.score(seed=0).value == wanted


def test_models_agree_on_no_answer() -> None:
    metric = metric_named("agreement", task=find_task("question-answering", UNANSWERABLE))
    ours = np.array([[5.0, 0, 1], [5, 0, 1], [0, 0, 1]])
    theirs = np.array([[9.0, 2, 0], [0, 0, 1], [0, 0, 2]])
    batch = {
        SAMPLE: np.arange(3),
        "about.first": np.zeros(3, np.int64),
        "about.offsets": np.array([[(-1, -1), (0, 3), (4, 8)]] * 3),
    }
    reference = Answer(theirs, batch, outputs={"start_logits": theirs, "end_logits": theirs})
    tally = metric.tally(())
    both = {"start_logits": ours, "end_logits": ours}
    tally.add(Answer(ours, batch, reference=reference, outputs=both))
    # both find none, whatever their spans; one of them; both the same span
    assert tally.score(seed=0).value == pytest.approx(2 / 3)


def test_an_empty_answer_is_right_only_where_there_is_none() -> None:
    assert token_f1("", [""]) == exact_match("", [""]) == 1
    assert token_f1("red", [""]) == exact_match("red", [""]) == 0
    assert token_f1("", ["red"]) == exact_match("", ["red"]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"unanswerable": 1}, "'unanswerable' must be true or false"),
        ({**UNANSWERABLE, "null_threshold": float("nan")}, "'null_threshold' must be a finite"),
        ({"null_threshold": 1.0}, "'null_threshold' must be 0 without 'unanswerable'"),
    ],
)
def test_arguments_are_bounded(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CompressError, match=sentence):
        find_task("question-answering", arguments)
