import pytest
from pydantic import ValidationError

from compress.distillation.options import Losses
from compress.distillation.students.spec import StudentSpec


@pytest.mark.parametrize(
    "values",
    [
        {"response": None, "labels": None},
        {"response": {"weight": 0}, "labels": {"weight": 0}},
        {"response": {"temperature": 0}},
        {"labels": {"smoothing": 1}},
        {"labels": {"weight": -1}},
        {"hints": {}},
    ],
)
def test_bad_losses_are_refused(values):
    with pytest.raises(ValidationError):
        Losses.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"layers": 0},
        {"layers": 2, "python": "a.b:c"},
        {"python": "a.b.c"},
        {"layers": 2, "arguments": {"width": 4}},
        {"width": 0.5},
    ],
)
def test_bad_students_are_refused(values):
    with pytest.raises(ValidationError):
        StudentSpec.model_validate(values)


def test_summaries_are_short():
    assert Losses().summarize() == "0.7 response (T 4) + 0.3 labels"
    assert StudentSpec(layers=3).summarize() == "3 layers"
    assert StudentSpec(transformers={"hidden_size": 8}).summarize() == "untrained, hidden_size 8"
    assert StudentSpec(python="a:b").summarize() == "untrained a:b"
