"""Classes and samples on which two models differ, from the answers that rows keep."""

import base64
import io
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from compress.data.raw import RawSamples
from compress.measurement.paired.kept import KeptAnswers
from compress.measurement.results import Quality
from compress.runner.reporting.answers import MOST_CLASSES, changed_answers

CLASSES = ("cat", "dog", "owl")
LABELS = [0, 0, 1, 1, 2, 2]
BEFORE = [0, 0, 1, 1, 2, 0]
AFTER = [0, 1, 1, 0, 2, 2]


def kept(predicted, labels=LABELS, classes=CLASSES, dtype=np.int32):
    return KeptAnswers(
        Quality("accuracy", 0.5, (0.4, 0.6), len(predicted)),
        predicted=np.array(predicted, dtype=dtype),
        labels=None if labels is None else np.array(labels, dtype=dtype),
        classes=classes,
    )


@dataclass
class Texts:
    """A split whose sample n is the text "text n"."""

    asked: list = field(default_factory=list)

    def raw(self, split, *, limit, places=None):
        assert split == "test"
        self.asked.append(list(places))
        return RawSamples("text", tuple(f"text {place}" for place in places[:limit]))


def context(target="class", data=None):
    return SimpleNamespace(task=SimpleNamespace(target=target), data=data or Texts())


def test_the_matrix_counts_answers_by_class() -> None:
    found = changed_answers(kept(BEFORE), kept(AFTER), context=context(), samples=20)["confusion"]
    assert found.classes == list(CLASSES)
    assert found.reference == [[2, 0, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0]]
    assert found.final == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 0]]


def test_samples_that_were_lost_come_first() -> None:
    found = changed_answers(kept(BEFORE), kept(AFTER), context=context(), samples=2)
    differing = found["disagreements"]
    assert (differing.count, differing.of) == (3, 6)
    assert [(s.place, s.label, s.reference, s.final, s.text) for s in differing.shown] == [
        (1, "cat", "cat", "dog", "text 1"),
        (3, "dog", "dog", "cat", "text 3"),
    ]


def test_no_sample_is_read_if_none_is_to_be_shown() -> None:
    data = Texts()
    found = changed_answers(kept(BEFORE), kept(AFTER), context=context(data=data), samples=0)
    assert found["disagreements"].count == 3
    assert found["disagreements"].shown == []
    assert data.asked == []


def test_of_many_classes_those_that_changed_most_are_kept() -> None:
    count = 40
    labels = np.repeat(np.arange(count), 5)
    after = labels.copy()
    after[labels == 31] = 3
    names = tuple(f"class {n}" for n in range(count))
    found = changed_answers(
        kept(labels, labels, names), kept(after, labels, names), context=context(), samples=0
    )["confusion"]
    assert len(found.classes) == MOST_CLASSES
    assert found.of == count
    row = found.classes.index("class 31")
    assert found.reference[row][row] == 5
    assert sum(found.final[row]) == 5
    assert found.final[row][row] == 0


def test_sets_of_classes_and_tokens() -> None:
    sets = [[1, 0, 0], [0, 1, 1]]
    given, made = kept(sets, sets, dtype=np.int8), kept([[1, 1, 0], [0, 1, 1]], sets, dtype=np.int8)
    found = changed_answers(given, made, context=context("class-set"), samples=5)
    assert "confusion" not in found
    [shown] = found["disagreements"].shown
    assert (shown.label, shown.reference, shown.final) == ("cat", "cat", "cat, dog")
    tokens = changed_answers(kept(BEFORE), kept(AFTER), context=context("token-class"), samples=5)
    assert list(tokens) == ["confusion"]


def test_samples_without_labels_have_none() -> None:
    given, made = kept(BEFORE, None), kept(AFTER, None)
    found = changed_answers(given, made, context=context(), samples=5)
    assert "confusion" not in found
    assert [sample.label for sample in found["disagreements"].shown] == [None] * 3
    given, made = (kept(each, [-100] * 6) for each in (BEFORE, AFTER))
    found = changed_answers(given, made, context=context(), samples=5)
    assert [sample.label for sample in found["disagreements"].shown] == [None] * 3


def test_models_without_classes_have_nothing_to_show() -> None:
    none = KeptAnswers(Quality("mse", 0.5, (0.4, 0.6), 3))
    assert changed_answers(none, none, context=context("own"), samples=5) == {}


@pytest.mark.parametrize(("mode", "size"), [("RGB", (300, 200)), ("L", (8, 8)), ("RGBA", (97, 3))])
def test_images_become_small_png_files(mode: str, size: tuple[int, int]) -> None:
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG")

    class Images:
        def raw(self, split, *, limit, places=None):
            return RawSamples("image", (file.getvalue(),) * limit)

    found = changed_answers(kept(BEFORE), kept(AFTER), context=context(data=Images()), samples=1)
    [shown] = found["disagreements"].shown
    with Image.open(io.BytesIO(base64.b64decode(shown.image))) as image:
        assert image.format == "PNG"
        assert max(image.size) == min(96, max(size))
    assert shown.text is None
