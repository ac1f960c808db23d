"""The translation of pydantic's errors, on models of every kind that a stage may declare."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, model_validator

from compress.core.options import Options
from compress.errors import expected
from compress.recipe.sentences import faults


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(Options):
    ratio: float = Field(default=0.5, ge=0, lt=1)
    """."""
    count: int = Field(default=1, gt=0)
    """."""


class Other(Options):
    layers: int
    """."""
    width: int = 3
    """."""

    @model_validator(mode="after")
    def _odd(self):
        if self.width % 2 == 0:
            raise ValueError(expected("width", "odd", self.width))
        return self


class Everything(Options):
    inner: Inner = Inner()
    """."""
    nullable: Inner | None = None
    """."""
    either: int | Inner | None = None
    """."""
    two: Inner | Other | None = None
    """."""
    numbers: list[Annotated[int, Field(ge=1)]] = Field(default=[1], min_length=1)
    """."""
    pair: tuple[int, int] | None = None
    """."""
    inners: tuple[Inner, ...] = ()
    """."""
    files: dict[Literal["train", "test"], Path | list[Path]] = Field(default_factory=dict)
    """."""
    by_name: dict[str, Inner] = Field(default_factory=dict)
    """."""
    anything: dict[str, Any] = Field(default_factory=dict)
    """."""
    colour: Colour = Colour.RED
    """."""
    choice: Literal["a", "b", "c"] = "a"
    """."""
    number_or_auto: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """."""
    flag: bool = False
    """."""
    text: str = Field(default="x", min_length=1)
    """."""
    least: float | None = Field(default=None, ge=2)
    """."""
    most: int = Field(default=0, le=9)
    """."""
    even: int = Field(default=2, multiple_of=2)
    """."""


def said(**value: object) -> list[str]:
    return [fault.sentence for fault in faults(Everything, value)]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"inner": {"ratio": 1}}, "'inner.ratio' must be a float in [0, 1). Got 1."),
        ({"inner": {"count": 0}}, "'inner.count' must be an int > 0. Got 0."),
        ({"inner": {"count": 1.5}}, "'inner.count' must be an int > 0. Got 1.5."),
        ({"inner": 3}, "'inner' must be a mapping with the keys ratio, count. Got 3."),
        (
            {"inner": {"rato": 1}},
            "in 'inner': unknown key 'rato'. Known: count, ratio. Did you mean 'ratio'?",
        ),
        ({"nullable": {"ratio": -1}}, "'nullable.ratio' must be a float in [0, 1). Got -1."),
        (
            {"either": "x"},
            "'either' must be an int, a mapping with the keys ratio, count or null. Got 'x'.",
        ),
        ({"either": {"ratio": 2}}, "'either.ratio' must be a float in [0, 1). Got 2."),
        ({"two": {"layers": "x"}}, "'two.layers' must be an int. Got 'x'."),
        ({"two": {"layers": 1, "width": 2}}, "'two.width' must be odd. Got 2."),
        ({"two": {"ratio": 2}}, "'two.ratio' must be a float in [0, 1). Got 2."),
        ({"numbers": [1, 0]}, "'numbers[1]' must be an int >= 1. Got 0."),
        ({"numbers": []}, "'numbers' must be a list of at least 1 item, each an int >= 1. Got []."),
        ({"numbers": 3}, "'numbers' must be a list of at least 1 item, each an int >= 1. Got 3."),
        ({"pair": [1]}, "'pair' must be a list of 2, each an int or null. Got [1]."),
        ({"pair": [1, 2, 3]}, "'pair' must be a list of 2, each an int or null. Got [1, 2, 3]."),
        ({"inners": [{}, {"ratio": 3}]}, "'inners[1].ratio' must be a float in [0, 1). Got 3."),
        ({"files": {"train": 3}}, "'files.train' must be a path or a list, each a path. Got 3."),
        (
            {"files": {"tran": "x"}},
            "in 'files': unknown key 'tran'. Known: test, train. Did you mean 'train'?",
        ),
        ({"by_name": {"x": {"ratio": 9}}}, "'by_name.x.ratio' must be a float in [0, 1). Got 9."),
        ({"colour": "rd"}, "'colour' must be 'red' or 'blue'. Got 'rd'."),
        ({"choice": "d"}, "'choice' must be one of 'a', 'b', 'c'. Got 'd'."),
        ({"number_or_auto": 0}, "'number_or_auto' must be an int >= 1 or 'auto'. Got 0."),
        ({"flag": "yes"}, "'flag' must be true or false. Got 'yes'."),
        ({"flag": 1}, "'flag' must be true or false. Got 1."),
        ({"text": ""}, "'text' must be a string that isn't empty. Got ''."),
        ({"text": 3}, "'text' must be a string that isn't empty. Got 3."),
        ({"least": 1}, "'least' must be a float >= 2 or null. Got 1."),
        (
            {"least": "3"},
            "'least' must be a float >= 2 or null. Got '3'. It is a text: write the number without "
            "quotes.",
        ),
        ({"least": True}, "'least' must be a float >= 2 or null. Got True."),
        ({"least": float("inf")}, "'least' must be a float >= 2 or null. Got inf."),
        ({"most": 10}, "'most' must be an int <= 9. Got 10."),
        ({"even": 3}, "'even' must be an int that is a multiple of 2. Got 3."),
        ({"two": {"width": 3}}, "'two.layers' is missing. It must be an int."),
    ],
)
def test_one_mistake_is_one_sentence(value, sentence):
    assert said(**value) == [sentence]


def test_all_mistakes_are_found_at_once_with_their_keys():
    found = faults(Everything, {"flag": 3, "inner": {"ratio": 5, "x": 1}, "numbers": [0]})
    assert {fault.keys for fault in found} == {
        ("flag",), ("inner", "ratio"), ("inner", "x"), ("numbers", 0)
    }  # fmt: skip


def test_a_long_value_is_cut():
    [sentence] = said(colour="x" * 500)
    assert sentence.endswith("xxx....")
    assert len(sentence) < 140


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.floats()
    | st.sampled_from(["a", "auto", "3", "red"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["ratio", "count", "layers", "width", "train", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*Everything.model_fields, "unknown"]), plain, max_size=4))
def test_there_are_faults_wherever_pydantic_refuses_and_each_names_its_place(value):
    try:
        Everything.model_validate(value)
        refused = False
    except ValidationError:
        refused = True
    found = faults(Everything, value)
    assert found or not refused
    for fault in found:
        assert fault.keys == () or fault.keys[0] in value
        assert "\n" not in fault.sentence
