import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.recipe.document import dotted, parse


def said(text: str) -> list[str]:
    return [str(problem) for problem in parse(text, "r.yaml").problems]


def test_every_value_has_the_line_of_its_key():
    document = parse("a: 1\nb:\n  - x: 2\n    y: 3\n  -\n    z: 4\n", "r.yaml")
    assert document.data == {"a": 1, "b": [{"x": 2, "y": 3}, {"z": 4}]}
    lines = {dotted(keys): place.line for keys, place in document.places.items()}
    assert lines == {
        "": 1, "a": 1, "b": 2, "b[0]": 3, "b[0].x": 3, "b[0].y": 4, "b[1]": 6, "b[1].z": 6
    }  # fmt: skip
    assert document.place(("b", 1, "z", "deeper")).text == "r.yaml:6"


def test_values_are_plain():
    text = "i: 3\nf: 1e-4\ng: .5\nt: true\nn:\ns: yes\nd: 2024-01-02\nq: '3'\n"
    data = parse(text, "r.yaml").data
    assert data == {
        "i": 3, "f": 1e-4, "g": 0.5, "t": True, "n": None, "s": "yes", "d": "2024-01-02", "q": "3"
    }  # fmt: skip
    assert [type(value) for value in data.values()][:4] == [int, float, float, bool]


def test_syntax_errors_are_one_line_with_the_place():
    assert said("a: 1\nb: [1,\n") == [
        "r.yaml:3 this isn't YAML: expected the node content, but found '<stream end>'."
    ]
    [tab] = said("a:\n\t- 1\n")
    assert tab.startswith("r.yaml:2 this isn't YAML: ")
    assert "\n" not in tab


def test_every_duplicate_key_is_reported():
    assert said("a: 1\nb: {c: 1, c: 2}\na: 2\n") == [
        "r.yaml:2 the key 'c' stands twice; first in line 2.",
        "r.yaml:3 the key 'a' stands twice; first in line 1.",
    ]


def test_anchors_and_merges_keep_their_lines():
    document = parse("a: &t\n  x: 1\n  y: 2\nb:\n  <<: *t\n  y: 3\nc: *t\n", "r.yaml")
    assert document.problems == []
    assert document.data["b"] == {"x": 1, "y": 3}
    assert document.data["c"] == {"x": 1, "y": 2}
    assert document.places["b", "x"].line == 2
    assert document.places["b", "y"].line == 6


def test_several_merges_the_first_wins():
    text = "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc:\n  <<: [*a, *b]\n"
    assert parse(text, "r.yaml").data["c"] == {"x": 1, "y": 2}


def test_an_alias_inside_itself_is_refused():
    assert said("a: &a\n  - *a\n") == ["r.yaml:1 an alias stands inside what it names."]


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!!binary", "!mine"])
def test_tags_are_refused_and_nothing_is_built(tag):
    [problem] = said(f"a: 1\nb: {tag} 'x'\n")
    assert problem.startswith("r.yaml:2 the tag ")


def test_keys_are_strings():
    assert said("a: {1: x}\n") == ["r.yaml:1 a key must be a string; put 1 in quotes."]


def test_two_documents_are_refused():
    [problem] = said("a: 1\n---\nb: 2\n")
    assert problem.startswith("r.yaml:")


names = st.text(alphabet="abcdefgh", min_size=1, max_size=5)
scalars = st.none() | st.booleans() | st.integers(-99, 99) | st.text(alphabet="ab :#'1", max_size=6)
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, plain, max_size=4))
def test_json_reads_as_the_same_values(data):
    document = parse(json.dumps(data), "r.yaml")
    assert document.problems == []
    assert document.data == data
