"""Every text is looked at before training: what isn't one, and what no token is made of."""

import re
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.errors import CompressError, DataError
from compress.tasks.registry import built_in
from tests.stages.texts import save_tokenizer
from tests.tasks import texts

CONFIG = {**texts.CONFIG, "vocab_size": 420}
DECODER = {"model_type": "gpt2", "vocab_size": 420, "n_embd": 16, "n_layer": 1, "n_head": 2}
FOUND = {"text": "text", "words": "tokens", "pair": "text_pair"}


def samples(kind: str = "text", row: int = 3, value: Any = None) -> dict[str, Any]:
    """A Python source of texts, lists of words, or pairs; a row's last column has a value."""
    some: list[dict[str, Any]] = [
        {"text": "the car is red", "text_pair": "the sky", "tokens": ["the", "car"], "label": 0}
        for _ in range(40)
    ]
    for one in some:
        one["label"] = [0, 1] if kind == "words" else 1
    if row >= 0:
        some[row][FOUND[kind]] = value
        if kind == "pair" and value == "":
            some[row]["text"] = ""
        if kind == "words" and value is not None:
            some[row]["label"] = [0] * len(value)
    return {"train": some}


def load(folder: Path, task: str, *, generates: bool, **data: Any) -> Any:
    model = {"config": DECODER if task == "text-generation" else CONFIG}
    given = {
        "python": "tests.data.texts.test_examined:samples",
        "tokenizer": save_tokenizer(folder, generates=generates),
        "max_length": 24,
        **data,
    }
    return compress.load(model, task, given)


@pytest.mark.parametrize(
    ("task", "kind", "value"),
    [
        ("text-classification", "text", ""),
        ("text-classification", "pair", ""),
        ("feature-extraction", "text", ""),
        ("token-classification", "words", [""]),
    ],
)
def test_a_text_without_a_token_is_named_before_training(task, kind, value, tmp_path):
    pair = {"text_pair": "text_pair"} if kind == "pair" else {}
    with pytest.raises(DataError, match=r"row 33 of split 'train': '\w+' must give a token"):
        load(
            tmp_path,
            task,
            generates=True,
            arguments={"kind": kind, "row": 33, "value": value},
            columns=pair,
        )


def test_the_field_has_the_name_that_the_data_gives_it(tmp_path):
    with pytest.raises(DataError, match="row 3 of split 'train': 'text_pair' must give a token"):
        load(
            tmp_path,
            "text-classification",
            generates=True,
            arguments={"kind": "pair", "value": ""},
            columns={"text": "text_pair"},
        )


@pytest.mark.parametrize(("kind", "said"), [("text", "an empty text"), ("words", "an empty word")])
def test_what_has_an_answer_by_its_special_tokens_is_noted(kind, said, tmp_path):
    task = "token-classification" if kind == "words" else "text-classification"
    value = ["the", " "] if kind == "words" else ""
    given = {"kind": kind, "row": 33, "value": value}
    artifact, _ = load(tmp_path, task, generates=False, arguments=given)
    [note] = [note for note in artifact.notes if "the first is row 33" in note]
    assert re.search(rf"1 of 3\d samples have {said}.* in '{FOUND[kind]}'; the first", note)


def test_texts_that_are_whole_say_nothing(tmp_path):
    artifact, _ = load(tmp_path, "text-classification", generates=False, arguments={"row": -1})
    assert not any("empty" in note for note in artifact.notes)


TEXTS = {
    "multiple-choice": "choice",
    "question-answering": "question",
    "text-regression": "scored",
    "fill-mask": "plain",
    "text-ranking": "ranking",
}
"""The data of the tasks that refuse an empty text whatever the tokenizer."""
HEADS = {
    "text-regression": {"num_labels": 1, "problem_type": "regression"},
    "text-ranking": {"num_labels": 1},
}
ALL = [task.name for task in built_in() if task.modality == "text"]


@pytest.mark.parametrize("task", ALL)
def test_every_task_on_texts_names_the_row_and_field_of_what_is_none(task, tmp_path):
    if task in TEXTS:
        fields = {"choice": "choices", "question": "context", "ranking": "documents"}
        field = fields.get(TEXTS[task], "text")
        data = texts.broken(tmp_path, TEXTS[task], **{field: None}) | {"limit": {"train": 10}}
        with pytest.raises(CompressError, match=f"row 3 of split 'train': '{field}' must be"):
            compress.load({"config": {**texts.CONFIG, **HEADS.get(task, {})}}, task, data)
        return
    kind = "words" if task == "token-classification" else "text"
    given = {
        "arguments": {"kind": kind, "row": 33, "value": None},
        "columns": {"label": None} if task.startswith("multi-label") else {},
    }
    with pytest.raises(DataError, match=f"row 33 of split 'train': '{FOUND[kind]}' must be a"):
        load(tmp_path, task, generates=task == "text-generation", **given)
