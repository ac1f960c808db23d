"""Whole recipes for answers by spans, and their parts with numbers worked out by hand."""

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
from compress.tasks.answers import script_functions
from compress.tasks.registry import find_task
from compress.tasks.texts.question_answering import QuestionAnswering
from compress.tasks.texts.right_answers import RightAnswer
from compress.tasks.texts.squad import exact_match, normalized, token_f1
from compress.tasks.texts.windows import tokens_of, windows_of
from compress.testing import check_task
from tests.tasks import texts
from tests.tasks.test_tensors import EVALUATION, training
from tests.tasks.test_text_regression import said, verified

FUNCTIONS = script_functions(QuestionAnswering.script_file)


def test_questions_go_the_whole_way(tmp_path: Path) -> None:
    values = texts.recipe(
        tmp_path / "data",
        "question",
        task={"name": "question-answering", "arguments": {"stride": 2, "max_answer_tokens": 8}},
        data={"max_length": 11},
        stages=[
            {"use": "train", **training(12, 0.01)},
            {"use": "distill", "student": {"width": {"hidden_size": 16}}, **training(3, 0.01)},
            {"use": "export", "name": "float"},
            {
                "use": "quantize",
                "method": "static",
                "recovery": training(1),
                "evaluation": EVALUATION,
            },
            {"use": "export"},
        ],
    )
    report = compress.run(recipe_from_dict(values), output=tmp_path / "run", threads=1)
    original, trained, student, _, small, final = report.stages
    assert trained.quality.metric == "f1"
    assert trained.quality.samples == 80  # as many as there are questions, not windows
    assert trained.quality.value > original.quality.value + 0.1
    assert student.params < trained.params
    assert small.quality.value > student.quality.value - 0.1
    assert "infer.py on 8 raw samples" in " ".join(final.notes)
    assert verified(tmp_path / "run") == {"ok"}
    rows = texts.rows_of("question", 4, seed=7)
    bundle = tmp_path / "run/stages/03-float/bundle"
    words = [word for row in rows for word in (row["question"], row["context"])]
    found = said(bundle, *words)
    wanted = of_torch(tmp_path / "run/stages/02-distill", bundle, rows)
    for one, (row, (score, a, b)) in zip(found, zip(rows, wanted, strict=True), strict=True):
        assert one["answer"] == row["context"][a:b]
        assert (one["start"], one["end"]) == (a, b)
        assert one["score"] == pytest.approx(score, abs=1e-3)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert said(bundle, "--jsonl", str(path)) == found


def of_torch(stage: Path, bundle: Path, rows: list[Any]) -> list[tuple[float, int, int]]:
    """The best span of each row's windows, found by transformers' own windows and by trying all."""
    from transformers import AutoTokenizer

    module, _ = load_checkpoint(stage)
    tokenizer = AutoTokenizer.from_pretrained(bundle)
    best = []
    for row in rows:
        given = tokenizer(
            row["question"],
            row["context"],
            truncation="only_second",
            max_length=11,
            stride=2,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        spans = []
        for at, ids in enumerate(given["input_ids"]):
            with torch.no_grad():
                out = module(torch.tensor([ids]))
            start, end = out.start_logits[0].tolist(), out.end_logits[0].tolist()
            inside = [n for n, of in enumerate(given.sequence_ids(at)) if of == 1]
            spans += [
                (
                    start[i] + end[j],
                    given["offset_mapping"][at][i][0],
                    given["offset_mapping"][at][j][1],
                )
                for i in inside
                for j in inside
                if i <= j < i + 8
            ]
        best.append(max(spans, key=lambda span: span[0]))
    return best


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    rows = texts.rows_of("question", 6)
    samples = [{**row, "labels": row["answers"]} for row in rows]
    check_task(
        find_task("question-answering"),
        texts.module("AutoModelForQuestionAnswering"),
        samples,
        directory=tmp_path,
        preprocessor=texts.preprocessor(),
    )


def test_words_are_counted_as_squad_counts_them() -> None:
    assert normalized("The  Cat's, an Apple!") == ["cats", "apple"]
    assert exact_match("the red house.", ["Red house", "other"]) == 1
    assert exact_match("red", ["red house"]) == 0
    # one of two words right, one of three found: 2 * 1 / (2 + 3)
    assert token_f1("red boat", ["red house stands", "tree"]) == pytest.approx(0.4)
    assert token_f1("red red", ["red"]) == pytest.approx(2 / 3)
    assert token_f1("the", ["a"]) == 1  # neither has a word
    assert token_f1("the", ["boat"]) == 0


def test_windows_share_their_stride() -> None:
    stretches = FUNCTIONS["stretches"]
    assert stretches(5, 6, 2) == [(0, 5)]
    assert stretches(6, 6, 2) == [(0, 6)]
    assert stretches(10, 6, 2) == [(0, 6), (4, 10)]
    assert stretches(11, 6, 2) == [(0, 6), (4, 10), (8, 11)]
    assert stretches(5, 2, 100) == [(0, 2), (1, 3), (2, 4), (3, 5)]  # no more than half
    assert stretches(3, 1, 100) == [(0, 1), (1, 2), (2, 3)]


def test_the_best_span_is_in_order_short_and_in_the_text() -> None:
    offsets = np.array([(-1, -1), (0, 2), (3, 5), (6, 8), (9, 11), (-1, -1)])
    start = np.array([99.0, 1, 0, 4, 0, 99])
    end = np.array([99.0, 0, 3, 1, 2, 99])
    # 4 + 3 would end before it begins; 4 + 2 is tokens 3 to 4
    assert FUNCTIONS["best_span"](start, end, offsets, 30) == (6.0, 6, 11)
    assert FUNCTIONS["best_span"](start, end, offsets, 1) == (5.0, 6, 8)


def test_an_answer_is_in_a_window_only_as_a_whole() -> None:
    offsets = np.array([(-1, -1), (4, 7), (8, 12), (13, 15), (-1, -1)])
    assert tokens_of(RightAnswer("boat", 8), offsets) == (2, 2)
    assert tokens_of(RightAnswer("oat a", 9), offsets) == (2, 3)
    assert tokens_of(RightAnswer("abc", 1), offsets) == (0, 0)
    assert tokens_of(RightAnswer("at sea", 13), offsets) == (0, 0)


def test_a_sample_gives_as_many_windows_as_its_context_needs(tmp_path: Path) -> None:
    data = {**texts.write_splits(tmp_path, "question", 30), "max_length": 9}
    artifact, context = compress.load(
        model={"config": texts.CONFIG}, task="question-answering", data=data
    )
    whole = context.data
    assert whole.size("train") > 20
    assert whole.raw("train", limit=99).values.__len__() == len(whole.splits["train"])
    places = [
        number
        for batch in whole.loader("train", artifact.preprocessor, batch_size=7)
        for number in batch[SAMPLE].tolist()
    ]
    assert sorted(set(places)) == list(range(len(whole.splits["train"])))
    assert places == sorted(places)
    counted = whole.windows("train", artifact.preprocessor)
    assert len(places) == len(counted) == whole.size("train")
    (few,) = whole.loader("train", artifact.preprocessor, batch_size=99, limit=1)
    assert len(few[SAMPLE]) == counted.ends[0] > 1  # the first sample's windows, all of them
    sample = whole.samples("train", np.array([0]))[0]
    parts = windows_of([sample], whole.task.constants(None), artifact.preprocessor)[0]
    assert [part.ids for part in parts] == [
        row[row != artifact.preprocessor.tokenizer.pad_token_id].tolist()
        for row in few["input_ids"]
    ]


def test_the_best_window_decides_and_samples_count_once() -> None:
    task = find_task("question-answering")
    offsets = np.array([[(0, 3), (4, 8)], [(0, 4), (5, 8)], [(0, 3), (4, 8)]])
    right = {"red boat": "red", "boat big": "red", "one tree": "tree"}
    codes = np.array([[ord(letter) for letter in text] for text in right])
    answers = np.array([[[ord(x) for x in f"{text:4}"]] for text in right.values()])
    start = np.array([[5.0, 0], [2, 0], [0, 3]])
    end = np.array([[5.0, 0], [2, 0], [0, 3]])
    batch = {
        SAMPLE: np.array([0, 0, 1]),
        "about.offsets": offsets,
        "about.first": np.zeros(3, np.int64),
        "about.text": codes,
        "about.answers": answers,
    }
    outputs = {"start_logits": start, "end_logits": end}
    for windows in ([slice(0, 3)], [slice(0, 1), slice(1, 3)]):
        tally = metric_named("exact_match", task=task).tally(())
        for some in windows:
            part = {name: value[some] for name, value in outputs.items()}
            beside = {name: value[some] for name, value in batch.items()}
            tally.add(Answer(part["start_logits"], beside, outputs=part))
        assert tally.samples == 2
        assert tally.score(seed=0).value == 1  # "boat" is a worse window's answer


def test_two_models_agree_on_a_sample_if_they_find_one_span_best() -> None:
    task = find_task("question-answering")
    assert task.default_metric(labelled=False) == "agreement"
    metric = metric_named("agreement", task=task)
    offsets = np.array([[(0, 3), (4, 8)]] * 4)
    ours = np.array([[5.0, 0], [9, 0], [0, 3], [2, 0]])
    theirs = np.array([[5.0, 0], [1, 0], [0, 4], [1, 0]])
    first = np.zeros(4, np.int64)
    batch = {SAMPLE: np.array([0, 0, 1, 1]), "about.offsets": offsets, "about.first": first}
    reference = Answer(theirs, batch, outputs={"start_logits": theirs, "end_logits": theirs})
    tally = metric.tally(())
    outputs = {"start_logits": ours, "end_logits": ours}
    tally.add(Answer(ours, batch, reference=reference, outputs=outputs))
    # of the first sample they choose spans of different windows, of the second the same one
    assert tally.samples == 2
    assert tally.score(seed=0).value == 0.5


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"answers": {"text": ["boat"], "answer_start": [900]}},
            "row 3 of split 'train': the answer 'boat' must be at character 900",
        ),
        (
            {"answers": {"text": [], "answer_start": []}},
            "row 3 of split 'train': the question has no answer. Allow that with 'arguments: "
            "{unanswerable: true}'",
        ),
        ({"answers": None}, "both lists are empty for a question without an answer. Got None"),
        ({"context": " "}, "row 3 of split 'train': 'context' must be a text that isn't empty"),
        ({"question": "what " * 60}, "row 3 .*the question leaves no room for the text"),
    ],
)
def test_a_sample_that_is_wrong_is_told_before_training(
    change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    data = {**texts.broken(tmp_path, "question", **change), "limit": {"train": 10}}
    with pytest.raises(CompressError, match=sentence):
        compress.load(model={"config": texts.CONFIG}, task="question-answering", data=data)


def test_a_head_of_more_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CompressError, match="gives 3 scores for each token, and question-answering"
    ):
        compress.load(
            model={"config": {**texts.CONFIG, "num_labels": 3}},
            task="question-answering",
            data=texts.write_splits(tmp_path, "question", 24),
        )


def test_arguments_are_bounded() -> None:
    with pytest.raises(CompressError, match="'stride' must be a whole number, at least 0"):
        find_task("question-answering", {"stride": -1})
