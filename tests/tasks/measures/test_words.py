"""Word error rate: against torchmetrics, and of a network that hears letters."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.text import word_error_rate as of_torchmetrics

from compress.errors import InputError, StageError
from compress.measurement.metrics.own import own_tally
from compress.measurement.metrics.registry import metric_of
from compress.measurement.metrics.tally import Answer
from compress.measurement.spec import OwnMetric
from compress.recipe.load import recipe_from_dict
from compress.tasks.measures.words import word_error_rate, word_errors
from compress.tasks.task import TASKS
from tests.tasks import arrays
from tests.tasks.measures.tasks import WORDS
from tests.tasks.test_tensors import QUANTIZE, run, training

TEXTS = st.lists(st.sampled_from(["a", "b", "the", "cat"]), max_size=6).map(" ".join)


@given(said=TEXTS, wanted=TEXTS.filter(bool))
@settings(max_examples=60, deadline=None)
def test_errors_of_one_text_are_those_of_torchmetrics(said: str, wanted: str) -> None:
    errors, words = word_errors(said.split(), wanted.split()), len(wanted.split())
    assert errors / words == pytest.approx(float(of_torchmetrics([said], [wanted])))


def test_it_is_taken_over_all_texts_together() -> None:
    said = ["this is the prediction", "there is an other sample"]
    wanted = ["this is the reference", "there is another one"]  # torchmetrics' own example: 0.5
    metric = word_error_rate(lambda outputs: [said[at] for at in outputs["at"]], lambda _: wanted)
    tally = own_tally(metric)
    tally.add(Answer(np.arange(2), {"labels": np.zeros(2)}, outputs={"at": np.arange(2)}))
    score = tally.score(seed=0)
    assert score.value == 0.5
    assert score.ci95[0] == 0.25
    assert score.ci95[1] == 0.75
    assert not metric.higher_is_better


def test_as_many_texts_must_be_said_as_are_wanted() -> None:
    tally = own_tally(word_error_rate(lambda _: ["a"], lambda _: ["a", "b"]))
    with pytest.raises(StageError, match="1 texts are said, and 2 are wanted"):
        tally.add(Answer(np.zeros(2), {}, outputs={}))


def test_a_recipe_may_name_a_metric_that_is_made() -> None:
    entry = "tests.tasks.measures.tasks:WORDS"
    task = TASKS["image-classification"]
    metric = metric_of(OwnMetric(python=entry), task=task, labels=(), labelled=True)
    assert (metric.name, metric.higher_is_better) == ("WORDS", False)
    with pytest.raises(InputError, match=r"higher_is_better of .* is False, and the recipe says"):
        metric_of(
            OwnMetric(python=entry, higher_is_better=True), task=task, labels=(), labelled=True
        )


def test_letters_are_heard_and_quantized(tmp_path: Path) -> None:
    report = run(
        tmp_path,
        arrays.sounds(),
        task={"python": "tests.tasks.measures.tasks:Dictation"},
        model={"python": "tests.tasks.nets:Spoken"},
        stages=[{"use": "train", **training(20, 0.02)}, QUANTIZE, {"use": "export"}],
    )
    untrained, trained, small, _ = report.stages
    assert trained.quality.metric == WORDS.name == "word_error_rate"
    assert trained.quality.value < 0.2 < untrained.quality.value
    assert trained.quality.ci95[0] <= trained.quality.value <= trained.quality.ci95[1]
    assert small.quality.value < trained.quality.value + 0.1
    assert small.vs_reference is not None
    assert small.vs_reference.test == "bootstrap"
    loaded = recipe_from_dict(report.recipe)
    assert loaded.task_name == "tests.tasks.measures.tasks:Dictation"
