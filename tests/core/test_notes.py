import pytest

from compress.core.notes import Weight, careful, unmarked, weight


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        ("kept epoch 5 of 8: validation accuracy 1.0000", Weight.CHOICE),
        ("static QDQ, U8S8", Weight.CHOICE),
        ("it was held against the light", Weight.CHOICE),
        ("ONNX against torch: max error 2.9e-06", Weight.CHECK),
        ("against the float model: top-1 agreement 100.0%", Weight.CHECK),
        ("int8: infer.py on 8 raw samples: largest difference 0.0e+00", Weight.CHECK),
        (careful("answers depend on padding"), Weight.WARNING),
        (f"int8: {careful('against the float model: half of them')}", Weight.WARNING),
        ("be careful: it is hot", Weight.CHOICE),
        ("int8: answers depend on the batch: largest difference 0.2", Weight.WARNING),
        ("generation isn't timed: no room", Weight.WARNING),
    ],
)
def test_weights(note: str, expected: Weight) -> None:
    assert weight(note) is expected


def test_a_mark_is_set_once_and_taken_away() -> None:
    marked = careful("int8: slow")
    assert careful(marked) == marked
    assert unmarked(marked) == "int8: slow"
    assert unmarked("int8: careful: slow") == "int8: slow"
    assert unmarked("not careful: slow") == "not careful: slow"
