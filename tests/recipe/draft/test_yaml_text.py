"""What is written as YAML is read again as it was."""

from hypothesis import given
from hypothesis import strategies as st

from compress.recipe.document import parse
from compress.recipe.draft.yaml_text import flow, yaml_text

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["null", "yes", "No", "~", "1e3", "0x1f", "1_000", "2020-01-01", "a: b", "#a"]),
    st.sampled_from(
        ["a.b:c_d", "./x", "-", "- a", "[a]", "a,b", "é", "\u2028", "\x7f", ".inf", ""]
    ),
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda key: key != "<<"
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_it_is_read_as_it_was(values):
    document = parse(yaml_text(values, {}), "text")
    assert document.problems == []
    assert document.data == values


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=3), st.text(max_size=120))
def test_comments_change_nothing(values, comment):
    first = next(iter(values))
    comments = {(first,): " ".join(word for word in comment.split() if word.isprintable())}
    document = parse(yaml_text(values, comments), "text")
    assert document.data == values


def test_how_it_looks():
    values = {
        "version": 1,
        "model": {"python": "nets:make", "arguments": {"names": ["a", "no"], "rate": 1e-05}},
        "stages": [{"use": "train", "training": {"epochs": 2}}, {"use": "export"}],
    }
    comments = {("model", "arguments"): "As guessed.", ("stages", 1): "The end.\nReally."}
    assert yaml_text(values, comments) == (
        "version: 1\n"
        "\n"
        "model:\n"
        "  python: nets:make\n"
        "  # As guessed.\n"
        '  arguments: {names: [a, "no"], rate: 1.0e-05}\n'
        "\n"
        "stages:\n"
        "  - use: train\n"
        "    training: {epochs: 2}\n"
        "\n"
        "  # The end.\n"
        "  # Really.\n"
        "  - use: export\n"
    )
    assert flow({"a b": None}) == '{"a b": null}'
