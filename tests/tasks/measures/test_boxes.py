"""Average precision of boxes: worked by hand, as pycocotools has it, and of a network."""

from pathlib import Path

import numpy as np
import pytest

from compress.errors import StageError
from compress.measurement.metrics.own import OwnFigure, own_tally
from compress.measurement.metrics.tally import Answer, Score
from compress.tasks.contract import TaskMetric
from compress.tasks.measures.boxes import Boxes, box_average_precision, overlaps
from tests.tasks import arrays
from tests.tasks.test_tensors import QUANTIZE, run, training

Box = tuple[float, float, float, float]
Seen = list[tuple[Box, int, float]]
Marked = list[tuple[Box, int]]


def padded(images: list[Seen] | list[Marked]) -> Boxes:
    most = max(1, *map(len, images))
    corners, classes = np.zeros((len(images), most, 4)), np.full((len(images), most), -100)
    scores = np.zeros((len(images), most))
    for image, boxes in enumerate(images):
        for place, (corner, kind, *score) in enumerate(boxes):
            corners[image, place], classes[image, place] = corner, kind
            scores[image, place] = score[0] if score else 0
    return Boxes(corners, classes, scores)


def answers(seen: list[Seen], marked: list[Marked], cut: int = 0) -> list[Answer]:
    """All images as one batch, or as two."""
    ours, theirs = padded(seen), padded(marked)
    parts = []
    for part in (slice(0, cut), slice(cut, None)) if cut else (slice(None),):
        outputs = {
            "boxes": ours.corners[part],
            "kinds": ours.classes[part],
            "scores": np.zeros(1) if ours.scores is None else ours.scores[part],
        }
        labels = {"labels.boxes": theirs.corners[part], "labels.kinds": theirs.classes[part]}
        parts.append(Answer(outputs["boxes"], labels, outputs=outputs))
    return parts


def metric(classes: int = 3, **given: object) -> TaskMetric:
    return box_average_precision(
        lambda outputs: Boxes(outputs["boxes"], outputs["kinds"], outputs["scores"]),
        lambda labels: Boxes(labels["boxes"], labels["kinds"]),
        classes=classes,
        **given,  # type: ignore[arg-type]
    )


def measured(found: TaskMetric, parts: list[Answer]) -> Score:
    tally = own_tally(found)
    for part in parts:
        tally.add(part)
    return tally.score(seed=0)


def drawn() -> tuple[list[Seen], list[Marked]]:
    """Boxes of 24 images, near to those marked and elsewhere, many with equal scores."""
    random = np.random.default_rng(7)
    found: list[Seen] = []
    wanted: list[Marked] = []
    for _ in range(24):
        count = random.integers(0, 6)
        corner, size = random.integers(0, 60, (count, 2)), random.integers(4, 40, (count, 2))
        boxes = np.hstack([corner, corner + size]).astype(float)
        kinds = random.integers(0, 3, count)
        wanted.append(list(zip(boxes, kinds, strict=True)))
        seen: Seen = []
        for box, kind in zip(boxes, kinds, strict=True):
            for _ in range(random.integers(0, 4)):
                moved = box + random.integers(-4, 5, 4)
                moved[2:] = np.maximum(moved[2:], moved[:2] + 1)
                other = kind if random.random() < 0.8 else random.integers(0, 3)
                seen.append((moved, other, random.integers(1, 20) / 20))
        for _ in range(random.integers(0, 3)):
            low = random.integers(0, 60, 2)
            box = np.concatenate([low, low + random.integers(4, 40, 2)]).astype(float)
            seen.append((box, random.integers(0, 3), random.integers(1, 20) / 20))
        found.append(seen[:12])
    return found, wanted


@pytest.mark.parametrize(
    ("given", "value"),
    [
        # COCOeval(…, "bbox").stats[:3] of pycocotools 2.0 for these boxes.
        ({}, 0.08706248130181213),
        ({"thresholds": (0.5,)}, 0.2570452696242215),
        ({"thresholds": (0.75,)}, 0.053748231966053744),
    ],
)
@pytest.mark.parametrize("cut", [0, 9])
def test_it_is_what_pycocotools_says(given: dict[str, object], value: float, cut: int) -> None:
    parts = answers(*drawn(), cut=cut)
    score = measured(metric(**given), parts)
    assert score.value == pytest.approx(value, rel=1e-12)
    assert score.ci95[0] < value < score.ci95[1]
    figure = OwnFigure(metric(**given))
    for part in parts:
        figure.add(part)
    assert figure.value(figure.parts) == pytest.approx(value, rel=1e-12)


def test_the_example_of_torchmetrics() -> None:
    seen: list[Seen] = [[((258.0, 41.0, 606.0, 285.0), 0, 0.536)]]
    marked: list[Marked] = [[((214.0, 41.0, 562.0, 285.0), 0)]]
    parts = answers(seen, marked)
    assert measured(metric(1), parts).value == pytest.approx(0.6)
    assert measured(metric(1, thresholds=(0.75,)), parts).value == 1.0


def test_precision_worked_by_hand() -> None:
    # Of two marked boxes the first and the third of three answers are right: precision is 1 up to a
    # recall of a half, and 2/3 above; 51 of 101 recalls lie below or at a half.
    far, one, two = (50.0, 50.0, 60.0, 60.0), (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)
    seen: list[Seen] = [[(one, 0, 0.9), (far, 0, 0.8), (two, 0, 0.7)]]
    marked: list[Marked] = [[(one, 0), (two, 0)]]
    value = measured(metric(2), answers(seen, marked)).value
    assert value == pytest.approx((51 + 50 * 2 / 3) / 101), "a class without labels doesn't count"
    # A second answer of the same box is wrong, and so is one of another class.
    again: list[Seen] = [[(one, 0, 0.9), (one, 0, 0.8), (two, 1, 0.7)]]
    assert measured(metric(2), answers(again, marked)).value == pytest.approx(51 / 101)


def test_overlaps_are_shares_of_what_either_covers() -> None:
    one = np.array([[0, 0, 2, 2], [5, 5, 5, 5]])
    other = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [4, 4, 6, 6]])
    np.testing.assert_allclose(overlaps(one, other), [[1 / 7, 1, 0], [0, 0, 0]])


def test_a_hundred_boxes_of_a_class_count() -> None:
    one, far = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)
    seen: list[Seen] = [[(far, 0, 0.9)] * 100 + [(one, 0, 0.1)]]
    assert measured(metric(1), answers(seen, [[(one, 0)]])).value == 0
    seen = [[(far, 0, 0.9)] * 99 + [(one, 0, 0.1)]]
    assert measured(metric(1), answers(seen, [[(one, 0)]])).value == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("seen", "marked", "said"),
    [
        ([[((0, 0, 1, 1), 3, 0.5)]], [[((0, 0, 1, 1), 0)]], "classes of found boxes must be"),
        ([[((0, 0, 1, 1), 0, 0.5)]], [[((0, 0, -1, 1), 0)]], "corners of labelled boxes must be"),
        ([[((0, 0, 1, 1), 0, 0.5)]], [[]], "must be a finite number"),
    ],
)
def test_what_cannot_be_judged_is_told(seen: list[Seen], marked: list[Marked], said: str) -> None:
    with pytest.raises(StageError, match=said):
        measured(metric(), answers(seen, marked))


def test_every_batch_has_as_many_boxes() -> None:
    one = (0.0, 0.0, 1.0, 1.0)
    parts = answers([[(one, 0, 0.5)]], [[(one, 0)]])
    parts += answers([[(one, 0, 0.5), (one, 0, 0.4)]], [[(one, 0)]])
    with pytest.raises(StageError, match="as many numbers for every batch"):
        measured(metric(), parts)


def test_a_network_that_finds_boxes_is_judged_by_them(tmp_path: Path) -> None:
    report = run(
        tmp_path,
        arrays.things(),
        task={"python": "tests.tasks.measures.tasks:Finding"},
        model={"python": "tests.tasks.nets:Finder"},
        data={"columns": {"targets": {"box": "box", "kind": "kind"}}},
        stages=[{"use": "train", **training(12, 0.02)}, QUANTIZE, {"use": "export"}],
    )
    _, trained, small, _ = report.stages
    assert trained.quality.metric == "ap50"
    assert trained.quality.value > 0.8
    assert small.quality.value > trained.quality.value - 0.1
    assert small.vs_reference is not None
    assert small.vs_reference.test == "bootstrap"
