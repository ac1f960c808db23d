"""The linear rival on small data of each kind."""

import pickle

import numpy as np
import pytest
from PIL import Image

from compress.core.batch import IGNORED
from compress.core.progress import Silent
from compress.data.dataset import Dataset, load_data
from compress.data.preprocess import load_preprocessor
from compress.data.rows import SequenceRows
from compress.data.spec import DataSpec
from compress.data.splits import Samples
from compress.errors import DataError, StageError
from compress.measurement.baseline.inputs import inputs_of
from compress.measurement.baseline.measure import measure_baseline
from compress.measurement.baseline.rival import answers, call_ms, train_rival
from compress.measurement.metrics.registry import metric_named
from compress.tasks.registry import find_task
from compress.tasks.task import TASKS
from tests.stages.digits import digits, preprocessor
from tests.tasks import arrays

TEXTS = TASKS["text-classification"]
SUBJECTS = ("ships", "trees", "stars")


def dataset(columns, targets, **splits):
    """A data set of these columns; all splits are the whole unless given as positions."""
    count = len(targets)
    samples = [{name: values[row] for name, values in columns.items()} for row in range(count)]
    rows = SequenceRows("train", samples, {name: name for name in columns}, None)
    found = {
        split: Samples(rows, np.asarray(splits.get(split, np.arange(count))), np.asarray(targets))
        for split in ("train", "validation", "test", "calibration")
    }
    for split, whole in found.items():
        found[split] = Samples(whole.rows, whole.indices, whole.targets[whole.indices])
    return Dataset(found, SUBJECTS, "fingerprint", target="class")


def sentences(count, *, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    noise = ["the", "a", "of", "with", "old", "new"]
    texts = [
        " ".join([*random.choice(noise, 4), SUBJECTS[label], *random.choice(noise, 4)])
        for label in labels
    ]
    return texts, labels


def accuracy_of(data, task, **keys):
    inputs = inputs_of(data, task)
    rival = train_rival(inputs, classes=3, **keys)
    labels = inputs.labels("test")
    scores = answers(rival, inputs, samples=len(labels))
    return rival, float((scores.argmax(1) == labels).mean())


def test_texts_are_told_apart_by_their_words():
    texts, labels = sentences(200)
    data = dataset({"text": texts}, labels, train=np.arange(150), test=np.arange(150, 200))
    rival, accuracy = accuracy_of(data, TEXTS)
    assert (rival.name, rival.notes) == ("tf-idf + linear SVM", ())
    assert accuracy == 1.0
    assert rival.majority == pytest.approx(np.bincount(labels[:150]) / 150)
    assert 0 < call_ms(rival, inputs_of(data, TEXTS)) < 1000


def test_both_texts_of_a_pair_count():
    first, ones = sentences(200)
    second, others = sentences(200, seed=1)
    same = (ones == others).astype(np.int64)
    pairs = dataset({"text": first, "text_pair": second}, ones)
    _, by_first = accuracy_of(pairs, TEXTS)
    pairs = dataset({"text": first, "text_pair": second}, others)
    _, by_second = accuracy_of(pairs, TEXTS)
    assert by_first == by_second == 1.0
    assert same.any()


def test_the_same_data_gives_the_same_rival():
    texts, labels = sentences(80)
    data = dataset({"text": texts}, labels)
    inputs = inputs_of(data, TEXTS)
    first, again = (
        answers(train_rival(inputs, classes=3, seed=4), inputs, samples=80) for _ in range(2)
    )
    assert np.array_equal(first, again)


def test_texts_without_any_word_are_refused_by_a_sentence():
    data = dataset({"text": ["", " ", ""]}, [0, 1, 2])
    with pytest.raises(StageError, match="scikit-learn failed: ValueError: empty vocabulary"):
        train_rival(inputs_of(data, TEXTS), classes=3)


def test_samples_without_a_label_are_not_trained_on():
    texts, labels = sentences(90)
    with_holes = np.where(np.arange(90) % 2 == 0, IGNORED, labels)
    rival, _ = accuracy_of(dataset({"text": texts}, with_holes), TEXTS)
    assert rival.majority == pytest.approx(np.bincount(labels[1::2]) / 45)
    with pytest.raises(DataError, match="no sample of train has a label"):
        accuracy_of(dataset({"text": texts}, np.full(90, IGNORED)), TEXTS)


def test_sets_of_classes_are_one_question_a_class():
    texts, labels = sentences(120)
    sets = np.zeros((120, 3), np.float32)
    sets[np.arange(120), labels] = 1
    sets[:, 2] = 1  # every sample has it
    task = TASKS["multi-label-text-classification"]
    inputs = inputs_of(dataset({"text": texts}, sets), task)
    rival = train_rival(inputs, classes=3)
    scores = answers(rival, inputs, samples=120)
    assert np.array_equal(scores > 0, sets > 0)
    assert ((rival.majority > 0) == [False, False, True]).all()


def test_digits_are_read_pixel_by_pixel():
    found = measure_baseline(
        digits(),
        preprocessor(),
        task=TASKS["image-classification"],
        metric=metric_named("accuracy", task=TASKS["image-classification"]),
        labels=tuple("0123456789"),
        limit=100,
        test_data="these",
    )
    baseline = found.baseline
    assert baseline.name == "linear model on pixels"
    assert baseline.quality.value > 0.9
    assert baseline.quality.samples == found.answers.quality.samples == 100
    assert baseline.majority.value < 0.2
    assert baseline.runtime.startswith("scikit-learn 1.")
    assert 0 < baseline.seconds < 60
    assert found.answers.test_data == "these"
    assert found.answers.held.mean() == baseline.quality.value
    # 10 classes of 64 weights and a bias in four bytes each, and a scale of the pixels.
    assert 10 * 65 * 4 < baseline.size_bytes < 10 * 65 * 4 + 2000


def images(*sizes):
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)) for size in sizes]


def test_images_of_several_sizes_become_like_the_first():
    task = TASKS["image-classification"]
    inputs = inputs_of(dataset({"image": images((8, 6), (9, 9), (8, 6))}, [0, 1, 2]), task)
    assert inputs.read("train", np.arange(3)).shape == (3, 48)
    large = inputs_of(dataset({"image": images((64, 40, 3), (64, 40, 3))}, [0, 1]), task)
    found = large.read("train", np.arange(2))
    assert found.shape == (2, 3 * 32 * 20), "averaged over squares of two by two"
    with pytest.raises(DataError, match="at most 64 by 64 pixels. Got 65 by 8".replace(".", r"\.")):
        inputs_of(dataset({"image": images((65, 8))}, [0]), task)


def tensors(tmp_path, task, made):
    np.savez(tmp_path / "data.npz", **made)
    spec = DataSpec(arrays=tmp_path / "data.npz")
    return load_data(spec, task=task, labels=(), seed=0), spec


def test_tensors_are_one_row_of_numbers(tmp_path):
    task = find_task("tensor-classification", {})
    data, spec = tensors(tmp_path, task, arrays.ids_and_numbers())
    found = measure_baseline(
        data,
        load_preprocessor(None, task=task, spec=spec),
        task=task,
        metric=metric_named("accuracy", task=task),
        labels=("0", "1"),
    )
    assert found.baseline.name == "linear model"
    assert found.baseline.quality.value > found.baseline.majority.value + 0.2
    assert found.baseline.quality.samples == data.size("test")


def test_there_is_none_for_tasks_without_classes(tmp_path):
    task = find_task("tensor-regression", {})
    data, _ = tensors(tmp_path, task, arrays.table())
    assert inputs_of(data, task) is None
    texts, labels = sentences(5)
    assert inputs_of(dataset({"text": texts}, labels), TASKS["feature-extraction"]) is None


def test_numbers_that_are_not_finite_are_told(tmp_path):
    task = find_task("tensor-classification", {})
    made = arrays.signals()
    made["signal"][:] = np.nan
    data, _ = tensors(tmp_path, task, made)
    with pytest.raises(DataError, match="needs finite numbers"):
        train_rival(inputs_of(data, task), classes=4)


class Counted(Silent):
    """Counts the steps of every piece of work."""

    def __init__(self):
        self.steps = {}

    def track(self, description, total):
        context = super().track(description, total)
        counted = self.steps.setdefault(description, [0, total])

        class Counting:
            def __enter__(self):
                context.__enter__()

                def advance(steps=1, *, info=""):
                    counted[0] += steps

                return advance

            def __exit__(self, *error):
                return context.__exit__(*error)

        return Counting()


def test_progress_ends_where_it_said():
    texts, labels = sentences(60)
    progress = Counted()
    accuracy_of(dataset({"text": texts}, labels), TEXTS, progress=progress)
    assert progress.steps == {"training the baseline": [6, 6]}
    progress = Counted()
    train_rival(inputs_of(digits(), TASKS["image-classification"]), classes=10, progress=progress)
    [(done, total)] = progress.steps.values()
    assert done == total > 0


def test_its_bytes_are_those_of_its_weights_and_words():
    texts, labels = sentences(60)
    rival, _ = accuracy_of(dataset({"text": texts}, labels), TEXTS)
    more = [f"{text} {number}" for number, text in enumerate(texts)]
    larger, _ = accuracy_of(dataset({"text": more}, labels), TEXTS)
    assert len(pickle.dumps(texts)) < rival.size_bytes < larger.size_bytes
