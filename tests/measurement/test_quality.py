import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from compress.errors import DataError, InputError, StageError
from compress.measurement.metrics.classes import accuracy, f1_macro
from compress.measurement.quality import measure_quality

labelled = st.integers(1, 40).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2)
)


class Told:
    """A Progress that keeps what it is told."""

    def __init__(self):
        self.steps = []

    def track(self, description, total):
        from contextlib import nullcontext

        self.steps.append((description, total))
        return nullcontext(lambda steps=1, *, info="": self.steps.append(steps))

    def say(self, line):
        raise ValueError(line)


@pytest.fixture
def loader(cnn):
    """Two batches, whose labels are the CNN's own answers but for two wrong ones of twelve."""
    torch.manual_seed(1)
    batches = []
    for size in (8, 4):
        values = torch.randn(size, 1, 8, 8)
        labels = cnn(values).argmax(1)
        labels[0] = (labels[0] + 1) % 10
        batches.append({"pixel_values": values, "labels": labels})
    return batches


def test_accuracy_over_all_batches(cnn, cnn_onnx, loader):
    told = Told()
    quality = measure_quality(cnn_onnx, loader=loader, metric="accuracy", threads=1, progress=told)
    assert (quality.metric, quality.value, quality.samples) == ("accuracy", 10 / 12, 12)
    assert quality.ci95[0] < 10 / 12 < quality.ci95[1]
    assert told.steps == [("measuring accuracy", 2), 1, 1]
    assert quality.higher_is_better


def test_f1_macro_over_all_batches(cnn, cnn_onnx, loader):
    quality = measure_quality(cnn_onnx, loader=loader, metric="f1_macro")
    labels = torch.cat([batch["labels"] for batch in loader])
    answers = torch.cat([cnn(batch["pixel_values"]).argmax(1) for batch in loader])
    assert len(set(answers.tolist())) > 2
    assert quality.value == pytest.approx(f1_score(labels, answers, average="macro"))
    assert 0 < quality.ci95[0] < quality.value < 1


def test_the_interval_of_f1_macro_is_decided_by_the_seed():
    labels = np.arange(200) % 3
    predictions = np.where(np.arange(200) % 7, labels, 0)
    first, again, other = (f1_macro(predictions, labels, seed=s).ci95 for s in (0, 0, 1))
    assert first == again != other


def test_an_unknown_metric_lists_the_known(cnn_onnx, loader):
    with pytest.raises(InputError, match=r"unknown metric 'acuracy'.*Did you mean 'accuracy'"):
        measure_quality(cnn_onnx, loader=loader, metric="acuracy")


def test_no_samples(cnn_onnx):
    with pytest.raises(DataError, match="no labelled samples"):
        measure_quality(cnn_onnx, loader=[], metric="accuracy")


def test_a_batch_without_labels(cnn_onnx):
    batches = [{"pixel_values": torch.zeros(1, 1, 8, 8)}]
    with pytest.raises(DataError, match="'labels'"):
        measure_quality(cnn_onnx, loader=batches, metric="accuracy")


def test_a_batch_without_an_input(bert_onnx, texts):
    batch = {name: torch.from_numpy(value) for name, value in texts(2).items()}
    del batch["attention_mask"]
    with pytest.raises(DataError, match="no attention_mask"):
        measure_quality(bert_onnx, loader=[batch | {"labels": torch.zeros(2)}], metric="accuracy")


def test_scores_that_are_not_numbers_are_refused(cnn_onnx):
    batch = {"pixel_values": torch.full((1, 1, 8, 8), torch.nan), "labels": torch.zeros(1)}
    with pytest.raises(StageError, match="aren't finite"):
        measure_quality(cnn_onnx, loader=[batch], metric="accuracy")


def test_labels_of_another_number_than_the_scores_are_refused(cnn_onnx):
    batch = {"pixel_values": torch.zeros(2, 1, 8, 8), "labels": torch.zeros(3)}
    with pytest.raises(StageError, match=r"\(3, classes\). Got \(2, 10\)"):
        measure_quality(cnn_onnx, loader=[batch], metric="accuracy")


@given(labelled)
@settings(max_examples=30, deadline=None)
def test_metrics_agree_with_scikit_learn(drawn):
    predictions, labels = (np.array(values) for values in drawn)
    assert accuracy(predictions, labels).value == accuracy_score(labels, predictions)
    value, (low, high), *_ = f1_macro(predictions, labels)
    wanted = f1_score(labels, predictions, average="macro", zero_division=0)
    assert value == pytest.approx(wanted)
    assert 0 <= low <= high <= 1


@pytest.mark.parametrize("metric", [accuracy, f1_macro])
def test_perfect_answers_score_one(metric):
    labels = np.array([0, 1, 2, 2, 5])
    value, (low, high), *_ = metric(labels, labels)
    assert value == 1
    assert low <= high == pytest.approx(1)


def test_the_interval_of_f1_macro_is_a_bootstrap_over_samples():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 200)
    predictions = np.where(generator.random(200) < 0.8, labels, generator.integers(0, 3, 200))
    low, high = f1_macro(predictions, labels).ci95
    resampled = []
    for _ in range(400):
        rows = generator.integers(200, size=200)
        resampled.append(f1_score(labels[rows], predictions[rows], average="macro"))
    assert (low, high) == pytest.approx(tuple(np.quantile(resampled, [0.025, 0.975])), abs=0.025)


def test_a_function_answers_in_place_of_a_file(cnn, cnn_onnx, images):
    batch = images(4) | {"labels": torch.arange(4)}
    loader = [{name: torch.as_tensor(value) for name, value in batch.items()}]

    def answer(batch):
        with torch.no_grad():
            return cnn(batch["pixel_values"]).numpy()

    of_file, of_function = (
        measure_quality(model, loader=loader, metric="accuracy") for model in (cnn_onnx, answer)
    )
    assert of_function == of_file
    with pytest.raises(StageError, match="the model's first output must be scores"):
        measure_quality(lambda batch: answer(batch)[:, 0], loader=loader, metric="accuracy")
