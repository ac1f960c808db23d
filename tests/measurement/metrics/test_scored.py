"""Metrics of all scores at once, against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn

from compress.core.batch import IGNORED
from compress.errors import DataError, InputError
from compress.measurement.metrics.registry import metric_named
from compress.measurement.metrics.tally import Answer
from compress.tasks.class_metrics import in_top
from compress.tasks.registry import find_task
from compress.tasks.task import TASKS

CLASSIFY, SETS = TASKS["text-classification"], TASKS["multi-label-text-classification"]


def scored(name, scores, labels, *, task=CLASSIFY):
    """The metric over two batches, and the number of samples that counted."""
    tally = metric_named(name, task=task).tally(())
    for part in (slice(0, 7), slice(7, None)):
        inner = {"labels": labels[part]}
        tally.add(Answer(scores[part], inner, outputs={"logits": scores[part]}))
    return tally.score(seed=0), tally.samples


def made(*, samples=120, classes=4, seed=0):
    """Scores that know a little of the labels. The last class occurs in no label."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes - 1, samples)
    scores = random.normal(size=(samples, classes)).astype(np.float32)
    scores[np.arange(samples), labels] += 1
    return scores, labels


def one_against_rest(function, scores, labels):
    probabilities = torch.from_numpy(scores).softmax(1).numpy()
    return np.mean([function(labels == c, probabilities[:, c]) for c in np.unique(labels)])


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("auroc", sklearn.roc_auc_score),
        ("average_precision", sklearn.average_precision_score),
    ],
)
def test_curves_are_means_over_the_classes_that_occur(name, function):
    scores, labels = made()
    found, samples = scored(name, scores, labels)
    assert samples == 120
    assert found.value == pytest.approx(one_against_rest(function, scores, labels), abs=1e-5)
    assert found.ci95[0] < found.value < found.ci95[1]
    assert len(found.draws) == 200


def test_two_classes_are_judged_by_the_difference_of_their_scores():
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 60)
    scores = random.normal(size=(60, 2)).astype(np.float32)
    scores += random.normal(size=(60, 1)).astype(np.float32) * 5  # the same for both classes
    found, _ = scored("auroc", scores, labels)
    assert found.value == pytest.approx(
        sklearn.roc_auc_score(labels, scores[:, 1] - scores[:, 0]), abs=1e-5
    )


def test_matthews_correlation_is_scikit_learns():
    scores, labels = made(seed=2)
    found, _ = scored("matthews_corrcoef", scores, labels)
    wanted = sklearn.matthews_corrcoef(labels, scores.argmax(1))
    assert found.value == pytest.approx(wanted, abs=1e-5)
    assert found.ci95[0] < wanted < found.ci95[1]


def test_top_5_is_scikit_learns_and_equal_scores_come_in_order():
    scores, labels = made(classes=12, seed=3)
    found, _ = scored("top_5_accuracy", scores, labels)
    wanted = sklearn.top_k_accuracy_score(labels, scores, k=5, labels=range(12))
    assert found.value == pytest.approx(wanted)
    assert found.held.sum() == round(wanted * 120)
    alike = np.zeros((3, 12), np.float32)
    assert in_top(alike, np.array([0, 4, 5])).tolist() == [True, True, False]
    with pytest.raises(InputError, match=r"more than 5 classes\. Got 3"):
        metric_named("top_5_accuracy", task=CLASSIFY, labels=("a", "b", "c"))


@pytest.mark.parametrize("name", ["matthews_corrcoef", "top_5_accuracy"])
def test_samples_without_a_label_do_not_count(name):
    scores, labels = made(classes=8, seed=4)
    with_holes = labels.copy()
    with_holes[::3] = IGNORED
    known = with_holes != IGNORED
    found, samples = scored(name, scores, with_holes)
    assert samples == known.sum()
    assert found.value == pytest.approx(scored(name, scores[known], labels[known])[0].value)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("auroc", sklearn.roc_auc_score),
        ("average_precision", sklearn.average_precision_score),
    ],
)
def test_sets_of_classes_are_judged_class_by_class(name, function):
    random = np.random.default_rng(5)
    labels = random.integers(0, 2, (80, 3)).astype(np.float32)
    labels[4] = -1
    scores = random.normal(size=(80, 3)).astype(np.float32) + labels
    found, samples = scored(name, scores, labels, task=SETS)
    known = labels[:, 0] >= 0
    assert samples == 79
    assert found.value == pytest.approx(
        function(labels[known], scores[known], average="macro"), abs=1e-5
    )


def test_one_class_alone_cannot_be_judged():
    scores, labels = made()
    with pytest.raises(DataError, match="auroc needs samples of two classes"):
        scored("auroc", scores, np.zeros_like(labels))


def test_a_task_on_tensors_has_them_too():
    scores, labels = made(seed=6)
    task = find_task("tensor-classification", {})
    functions = {metric.name: metric.of_all for metric in task.table_of_metrics()}
    found = functions["matthews_corrcoef"]({"logits": scores}, {"labels": labels})
    assert found == pytest.approx(sklearn.matthews_corrcoef(labels, scores.argmax(1)), abs=1e-5)
    with_holes = np.where(labels == 0, IGNORED, labels)
    known = labels != 0
    for name in ("auroc", "average_precision"):
        whole = functions[name]({"logits": scores}, {"labels": with_holes})
        assert whole == functions[name]({"logits": scores[known]}, {"labels": labels[known]})


def test_torch_keeps_its_threads():
    scores, labels = made(samples=10)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        metric = metric_named("auroc", task=CLASSIFY)
        tally = metric.tally(())
        tally.add(Answer(scores, {"labels": labels}))
        assert 0 < tally.score(seed=0).value < 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
