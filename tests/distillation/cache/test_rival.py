"""The linear rival's answers are made once, and belong to the texts as they are."""

from dataclasses import replace

import pytest
import torch

import compress
from compress.core.batch import SAMPLE_IDS
from compress.distillation.cache.rival import open_rival
from compress.errors import StageError
from tests.stages.test_ngrams import BERT
from tests.stages.texts import coloured, save_tokenizer


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rival")
    data = {
        "python": "tests.stages.texts:coloured",
        "tokenizer": save_tokenizer(folder / "tokenizer"),
        "max_length": 16,
    }
    (folder / "stage").mkdir()
    artifact, context = compress.load(
        {"config": BERT}, "text-classification", data, directory=folder / "stage", threads=1
    )
    return artifact, replace(context, shared=folder)


def every(context):
    return {SAMPLE_IDS: torch.arange(context.data.size("train"))}


def test_answers_are_made_once_and_right(loaded):
    artifact, context = loaded
    first = open_rival(context, classes=len(artifact.labels))
    logits = first(every(context)).logits
    labels = [artifact.labels.index(sample["label"]) for sample in coloured()["train"]]
    right = float((logits.argmax(-1) == torch.tensor(labels)).float().mean())
    assert right > 0.8
    assert f"{right:.1%} of them right" in first.notes[0]
    again = open_rival(context, classes=len(artifact.labels))
    assert again.notes == ("the linear rival's answers to the train split were taken from disk",)
    assert torch.equal(again(every(context)).logits, logits)


def test_every_variant_of_a_sample_has_its_answer(loaded):
    artifact, context = loaded
    teacher = open_rival(context, classes=len(artifact.labels))
    size = context.data.size("train")
    inputs = {"attention_mask": torch.ones(2, 3, dtype=torch.int64)}
    one = teacher({SAMPLE_IDS: torch.tensor([3, 5]), **inputs}).logits
    other = teacher({SAMPLE_IDS: torch.tensor([3 + 2 * size, 5 + size]), **inputs}).logits
    assert torch.equal(one, other)


def test_a_task_without_a_rival_is_told(loaded):
    _, context = loaded
    task = replace(context.task, name="feature-extraction", target="none")
    with pytest.raises(StageError, match="no linear rival is trained for feature-extraction"):
        open_rival(replace(context, task=task, shared=None), classes=4)
