"""Two models on the same samples: the difference, its verdict, and what is kept to tell it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import recall_score
from torchmetrics.functional.classification import multiclass_calibration_error

from compress.core.notes import Weight, weight
from compress.errors import InputError, StageError
from compress.measurement.metrics.tally import Answer, Sums
from compress.measurement.paired.against import compared
from compress.measurement.paired.calibration import calibration_error
from compress.measurement.paired.difference import difference, in_words, unpaired
from compress.measurement.paired.kept import KeptAnswers, from_file
from compress.measurement.paired.lost import lost_classes
from compress.measurement.quality import measure_answers
from compress.measurement.results import Quality
from compress.tasks.task import TASKS

NAMES = ("cat", "dog", "owl")


def answered(scores, labels, *, names=NAMES, metric="accuracy", task="image-classification"):
    """What is kept of a model that gives these scores, in two batches."""
    scores, labels = np.asarray(scores, np.float32), np.asarray(labels)
    half = len(labels) // 2
    parts = [slice(0, half), slice(half, None)]
    batches = [{"scores": scores[part], "labels": labels[part]} for part in parts]
    return measure_answers(
        lambda batch: batch["scores"],
        loader=batches,
        metric=metric,
        task=TASKS[task],
        labels=names,
        test_data="these",
    )


def scores_of(said, classes=3, *, sure=4.0):
    return sure * np.eye(classes, dtype=np.float32)[said]


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 3, 600)


def wrong_at(labels, *places):
    said = labels.copy()
    for place in places:
        said[place] = (said[place] + 1) % 3
    return scores_of(said)


def test_accuracies_are_compared_by_mcnemar(labels):
    ours = answered(wrong_at(labels, range(20, 50)), labels)
    theirs = answered(wrong_at(labels, range(10, 30)), labels)
    found = difference(ours, theirs)
    assert found.test == "mcnemar"
    assert found.change == pytest.approx(-10 / 600)
    assert found.p_value == pytest.approx(0.0987, abs=1e-4)  # 10 gained, 20 lost
    assert found.ci95[0] < found.change < 0 < found.ci95[1]
    assert found.verdict == "too few samples to tell"  # -3.6 points aren't excluded
    assert found.agreement == pytest.approx(570 / 600)
    assert found.samples == 600
    worse = difference(answered(wrong_at(labels, range(60)), labels), theirs)
    assert worse.verdict == "worse"
    assert difference(theirs, answered(wrong_at(labels, range(60)), labels)).verdict == "better"
    assert difference(ours, replace(ours)).verdict == "no difference seen"
    few = replace(ours, held=ours.held[:50], quality=replace(ours.quality, samples=50))
    assert difference(few, replace(few)).verdict == "too few samples to tell"
    assert difference(few, few).verdict == "no difference seen"  # one file


def test_other_metrics_are_compared_by_a_paired_bootstrap(labels):
    ours, theirs = (
        answered(wrong_at(labels, range(wrong)), labels, metric="f1_macro") for wrong in (90, 30)
    )
    found = difference(ours, theirs)
    assert found.test == "bootstrap"
    assert found.verdict == "worse"
    assert found.ci95[0] < found.change < found.ci95[1] < 0
    assert found.p_value < 0.01
    same = difference(ours, ours)
    assert (same.change, same.ci95, same.p_value) == (0, (0, 0), 1)


@pytest.mark.parametrize(
    ("change", "ci95", "p_value", "quality", "verdict"),
    [
        (0.01, (0.002, 0.02), 0.01, {}, "better"),
        (0.01, (0.002, 0.02), 0.01, {"higher_is_better": False}, "worse"),
        (-0.01, (-0.015, 0.004), 0.2, {}, "no difference seen"),
        (-0.01, (-0.03, 0.01), 0.2, {}, "too few samples to tell"),
        (0.2, (-0.1, 0.5), 0.2, {"value": 30.0, "higher_is_better": False}, "no difference seen"),
        (0.2, (-0.1, 0.7), 0.2, {"value": 30.0, "higher_is_better": False},
         "too few samples to tell"),
    ],
)  # fmt: skip
def test_the_verdict_goes_by_the_interval(change, ci95, p_value, quality, verdict):
    than = Quality(**{"metric": "m", "value": 0.8, "ci95": (0, 1), "samples": 100} | quality)
    assert in_words(change, ci95, p_value, than=than) == verdict


def test_only_answers_to_the_same_samples_are_compared(labels):
    ours = answered(scores_of(labels), labels)
    others = {
        "they answered 600 and 500 samples": answered(scores_of(labels[:500]), labels[:500]),
        "they answered different test samples": replace(ours, test_data="those"),
        "the metrics are accuracy and f1_macro": answered(
            scores_of(labels), labels, metric="f1_macro"
        ),
        "accuracy keeps nothing of its samples": replace(ours, held=None),
    }
    for said, other in others.items():
        assert unpaired(ours, other) == said
        with pytest.raises(StageError, match=said):
            difference(ours, other)
        found = compared(ours, reference=other, previous=None)
        assert found.vs_reference is None
        assert found.notes == (f"no difference from the reference is tested: {said}",)


def test_classes_in_another_order_are_the_same_classes(labels):
    ours = answered(wrong_at(labels, range(30)), labels)
    turned = answered(
        wrong_at(labels, range(30))[:, [2, 0, 1]], (labels + 1) % 3, names=("owl", "cat", "dog")
    )
    assert ours.agreement(turned) == 1
    assert difference(ours, turned).change == 0
    renamed = replace(turned, classes=("owl", "cat", "ape"))
    assert ours.agreement(renamed) is None


def test_recall_and_calibration(labels):
    labels[:20] = -100
    said = labels.copy()
    said[20:120], said[:20] = 0, 1
    kept = answered(scores_of(said, sure=2.0), labels)
    wanted = recall_score(labels[20:], said[20:], average=None)
    assert list(kept.recall) == list(NAMES)
    assert list(kept.recall.values()) == pytest.approx(list(wanted))
    sure = np.exp(2) / (np.exp(2) + 2)
    right = (said == labels)[20:].mean()
    assert kept.calibration_error == pytest.approx(abs(sure - right), abs=1e-6)


def test_the_calibration_error_is_the_mean_gap_of_bins():
    confidence = np.array([0.95, 0.97, 0.55, 0.52, 1.0])
    right = np.array([True, False, False, True, True])
    # bins of 1/15: (0.933, 1] holds three, (0.533, 0.6] one, (0.467, 0.533] one
    gaps = abs((0.95 + 0.97 + 1) - 2) + 0.55 + (1 - 0.52)
    assert calibration_error(confidence, right) == pytest.approx(gaps / 5)
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0


def test_the_calibration_error_is_that_of_torchmetrics():
    generator = np.random.default_rng(2)
    scores, labels = generator.normal(size=(300, 3)), generator.integers(0, 3, 300)
    kept = answered(2 * scores, labels)
    shares = torch.softmax(torch.from_numpy(2 * scores), dim=1)
    wanted = multiclass_calibration_error(shares, torch.from_numpy(labels), num_classes=3)
    assert kept.calibration_error == pytest.approx(float(wanted), abs=1e-5)


def test_a_class_that_a_stage_destroyed_is_noted_though_the_average_holds():
    labels = np.repeat([0, 1, 2], [500, 480, 20])
    before = answered(scores_of(labels), labels)
    said = np.where(labels == 2, 0, labels)
    after = answered(scores_of(said), labels)
    assert after.quality.value == 0.98
    assert lost_classes(after, before) == [("owl", 1.0, 0.0, 20)]
    assert lost_classes(before, after) == []
    (note,) = compared(after, reference=before, previous=None).notes
    assert weight(note) is Weight.WARNING
    assert "class 'owl' is mostly lost: its recall was 1.000 and is 0.000, of 20 labels" in note


def test_sets_and_tokens_are_kept_too():
    generator = np.random.default_rng(1)
    labels = (generator.random((40, 3)) < 0.5).astype(np.float32)
    scores = generator.normal(size=(40, 3)).astype(np.float32)
    sets = answered(scores, labels, metric="f1_micro", task="multi-label-text-classification")
    assert sets.predicted.shape == (40, 3)
    assert sets.recall["cat"] == pytest.approx((scores[labels[:, 0] == 1, 0] > 0).mean())
    turned = answered(
        scores[:, [1, 2, 0]], labels[:, [1, 2, 0]], names=("dog", "owl", "cat"),
        metric="f1_micro", task="multi-label-text-classification",
    )  # fmt: skip
    assert sets.agreement(turned) == 1
    assert sets.calibration_error is None
    tokens = generator.integers(0, 3, (10, 6))
    of_tokens = generator.normal(size=(10, 6, 3)).astype(np.float32)
    kept = answered(of_tokens, tokens, task="token-classification")
    assert kept.predicted.shape == (60,)
    assert kept.agreement(kept) == 1
    written = answered(of_tokens, tokens, names=(), metric="perplexity", task="text-generation")
    assert written.predicted.shape == (50,)
    assert written.recall == {}
    other = answered(of_tokens, (tokens + 1) % 3, names=(), metric="perplexity",
                     task="text-generation")  # fmt: skip
    assert written.agreement(other) is None  # tokens of another vocabulary


def test_a_metric_of_sums_that_is_a_fraction_of_samples_keeps_which():
    right = np.array([1, 0, 1, 1], float)
    tally = Sums(lambda _: np.stack([right, np.ones(4)], 1), lambda sums: sums[:, 0] / sums[:, 1])
    tally.add(Answer(right, {}))
    assert tally.score(seed=0).held.tolist() == [True, False, True, True]
    halves = Sums(lambda _: np.stack([right, 2 * np.ones(4)], 1), lambda sums: sums[:, 0])
    halves.add(Answer(right, {}))
    assert halves.score(seed=0).held is None


def test_kept_answers_come_back_from_their_file(labels, tmp_path):
    path = tmp_path / "answers.safetensors"
    for metric in ("accuracy", "f1_macro"):
        kept = answered(wrong_at(labels, range(30)), labels, metric=metric)
        path.write_bytes(kept.to_bytes())
        again = from_file(path)
        assert (again.quality, again.classes) == (kept.quality, NAMES)
        assert again.test_data == "these"
        assert difference(again, kept).change == 0
        assert again.recall == kept.recall
        assert again.calibration_error == kept.calibration_error
        assert len(path.read_bytes()) < 30_000


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 40, None, KeptAnswers])
def test_what_is_no_file_of_answers(tmp_path, content):
    path = tmp_path / "answers.safetensors"
    if content is KeptAnswers:
        quality = Quality("accuracy", 0.5, (0, 1), 2)
        path.write_bytes(KeptAnswers(quality).to_bytes().replace(b"ci95", b"ci96"))
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"answers\.safetensors can't be read"):
        from_file(path)
