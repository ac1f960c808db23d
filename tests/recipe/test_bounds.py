"""Recipes that are too large, too deep or no text: exit code 2, one short message, at once."""

import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.cli import main
from compress.errors import RecipeError
from compress.recipe.bounds import (
    LONGEST_KEY,
    LONGEST_TEXT,
    MOST_BYTES,
    MOST_DEPTH,
    MOST_ITEMS,
    MOST_PROBLEMS,
    MOST_STAGES,
    beyond,
)
from compress.recipe.document import parse
from compress.recipe.json_schema import recipe_schema
from compress.recipe.load import recipe_from_dict

RECIPE = """\
version: 1
name: digits
model: {python: "compress.models.resnet:resnet"}
task: image-classification
data: {sklearn: digits}
stages:
  - use: train
  - use: export
"""
SECONDS = 10.0
"""Of any of these; a second or less on a machine that does nothing else."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """What `compress check` says of arguments that it refuses."""

    def run(*arguments: str) -> str:
        start = time.perf_counter()
        with pytest.raises(SystemExit) as ended:
            main(["check", *arguments])
        said = capsys.readouterr().err
        assert ended.value.code == 2, said
        assert "Traceback" not in said
        assert "--debug" not in said
        assert max(len(line) for line in said.splitlines()) <= 3000
        assert time.perf_counter() - start < SECONDS
        return said

    return run


def with_arguments(value: str) -> bytes:
    return RECIPE.replace('resnet"', f'resnet", arguments: {{a: {value}}}').encode()


def laughs(levels: int, *, merged: bool = False) -> bytes:
    first = "a0: &a0 {x: 1, y: 2, z: 3}" if merged else "a0: &a0 [x, x, x]"
    lines = [first]
    for level in range(1, levels):
        inner = [f"*a{level - 1}"] * 9
        made = (
            "{" + ", ".join(f"k{at}: {{<<: {one}}}" for at, one in enumerate(inner)) + "}"
            if merged
            else f"[{', '.join(inner)}]"
        )
        lines.append(f"a{level}: &a{level} {made}")
    return ("\n".join(lines) + "\n").encode()


DEEP = f"a recipe may hold at most {MOST_DEPTH} mappings and lists inside one another"
MANY = f"a recipe may hold at most {MOST_ITEMS:,} keys and values, aliases followed"
CASES = {
    "lists 500 deep": (with_arguments("[" * 500 + "]" * 500), "recipe.yaml:3 " + DEEP),
    "lists 2,000 deep": (with_arguments("[" * 2000 + "]" * 2000), "recipe.yaml:3 " + DEEP),
    "lists 100,000 deep": (b"[" * 100_000, "recipe.yaml:1 " + DEEP),
    "mappings 400 deep": (with_arguments("{a: " * 400 + "1" + "}" * 400), "recipe.yaml:3 " + DEEP),
    "mappings 30,000 deep": (b"{a: " * 30_000, "recipe.yaml:1 " + DEEP),
    "open mappings": (b"{" * 100_000, "recipe.yaml:1 "),
    "block lists": (b"- " * 100_000, "recipe.yaml:1 " + DEEP),
    "block mappings": (
        "\n".join(" " * at + "a:" for at in range(700)).encode(),
        f"recipe.yaml:{MOST_DEPTH + 1} {DEEP}",
    ),
    "question marks": (b"? " * 100_000, "recipe.yaml:1 " + DEEP),
    "laughs of 4 levels": (laughs(5), "recipe.yaml:5 " + MANY),
    "laughs of 8 levels": (laughs(9), MANY),
    "laughs of 1,000 levels": (laughs(1000), MANY),
    "laughs merged": (laughs(8, merged=True), MANY),
    "aliases that get deep": (
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 90))).encode(),
        f"recipe.yaml:{MOST_DEPTH} {DEEP}",
    ),
    "an alias in itself": (with_arguments("&a [*a]"), "recipe.yaml:3 an alias stands inside"),
    "an integer of 5,000 digits": (
        RECIPE.replace("name", "seed: " + "9" * 5000 + "\nname").encode(),
        "recipe.yaml:2 '9999",
    ),
    "an integer of 300 digits": (
        RECIPE.replace("name", "seed: " + "9" * 300 + "\nname").encode(),
        "recipe.yaml:2 a number must be of at most 40 digits.",
    ),
    "a long hexadecimal number": (with_arguments("0x" + "f" * 3000), "is too long for a whole"),
    "a long float": (with_arguments("0." + "1" * 5000), "is too long for a number"),
    "no integer": (with_arguments("!!int abc"), "recipe.yaml:3 'abc' isn't a whole number."),
    "no float": (with_arguments("!!float abc"), "recipe.yaml:3 'abc' isn't a number."),
    "no boolean": (with_arguments("!!bool abc"), "recipe.yaml:3 'abc' isn't true or false."),
    "no null": (with_arguments("!!null abc"), "recipe.yaml:3 'abc' isn't null."),
    "an empty integer": (with_arguments('!!int ""'), "recipe.yaml:3 '' isn't a whole number."),
    "no character": (with_arguments('"\\U99999999"'), "recipe.yaml:3 this isn't YAML: Overflow"),
    "a character out of range": (with_arguments('"\\U00110000"'), "recipe.yaml:3 this isn't YAML"),
    "half a surrogate pair": (with_arguments('"\\ud800"'), "it has half a surrogate pair"),
    "half a surrogate pair in a key": (with_arguments('{"\\ud800": 1}'), "that can be printed"),
    "an escape in a key": (with_arguments('{"\\e[31m": 1}'), "recipe.yaml:3 a key must be"),
    "a NUL escape": (with_arguments('"\\0"'), "recipe.yaml:3 a string can't hold a NUL"),
    "a NUL": (RECIPE.replace("digits", "di\0gits").encode(), "recipe.yaml:2 this isn't YAML"),
    "a bell": (RECIPE.replace("digits", "di\agits").encode(), "recipe.yaml:2 this isn't YAML"),
    "binary": (with_arguments("!!binary aGVsbG8="), "the tag '!!binary' isn't allowed"),
    "a set": (with_arguments("!!set {b, c}"), "recipe.yaml:3 the tag '!!set' isn't allowed"),
    "an ordered mapping": (with_arguments("!!omap [b: 1]"), "the tag '!!omap' isn't allowed"),
    "an object": (with_arguments("!!python/object:os.system {}"), "isn't allowed"),
    "a tag of 100,000 characters": (with_arguments("!" + "t" * 100_000 + " x"), "isn't allowed"),
    "UTF-16": (RECIPE.encode("utf-16"), "this isn't UTF-8 text"),
    "Latin-1": (RECIPE.replace("digits", "dégits").encode("latin-1"), "this isn't UTF-8 text"),
    "bytes": (bytes(range(256)) * 20, "this isn't UTF-8 text"),
    "nothing": (b"", "'recipe' must be a mapping of keys to values"),
    "blanks": (b" \n\n", "'recipe' must be a mapping of keys to values"),
    "a comment": (b"# recipe\n", "'recipe' must be a mapping of keys to values"),
    "a word": (b"recipe", "'recipe' must be a mapping of keys to values"),
    "too many bytes": (b"#" * (MOST_BYTES + 1), f"at most {MOST_BYTES:,} bytes"),
    "a key of 200,000 characters": (
        RECIPE.encode() + b"? " + b"k" * 200_000 + b"\n: 1\n",
        f"a key must be of at most {LONGEST_KEY} characters. Got 200,000",
    ),
    "the same long key twice": (
        (b'? "' + b"k" * 100_000 + b'"\n: 1\n') * 2,
        "stands twice",
    ),
    "a long key that is a list": (b"? [" + b"k" * 100_000 + b"]\n: 1\n", "a key must be a string"),
    "a string of 200,000 characters": (
        with_arguments("s" * 200_000),
        f"a string must be of at most {LONGEST_TEXT:,} characters. Got 200,000",
    ),
    "a stage of 200,000 characters": (
        RECIPE.replace("use: train", "use: " + "t" * 200_000).encode(),
        "recipe.yaml:7 a string must be of at most",
    ),
    "a stage name of 9,000 characters": (
        RECIPE.replace("use: train", "use: train\n    name: " + "t" * 9_000).encode(),
        "'name' must be a string matching",
    ),
    "10,000 stages": (
        RECIPE.encode() + b"".join(b"  - {use: prune, name: p%d}\n" % at for at in range(10_000)),
        MANY,
    ),
    "1,000 stages": (
        RECIPE.encode() + b"".join(b"  - {use: prune, name: p%d}\n" % at for at in range(1_000)),
        f"'stages' must be a list of at most {MOST_STAGES} stages. Got 1,002.",
    ),
    "a list of 100,000 batch sizes": (
        (RECIPE + "measure: {batch_sizes: [" + "1," * 100_000 + "]}\n").encode(),
        MANY,
    ),
    "9,000 batch sizes": (
        (RECIPE + f"measure: {{batch_sizes: {list(range(1, 9000))}}}\n").encode(),
        "'measure.batch_sizes' must be a list of 1 to 64 items",
    ),
    "a huge float": (RECIPE.encode() + b"gates: {speedup: 1e999}\n", "'gates.speedup' must be"),
    "not a number": (RECIPE.encode() + b"gates: {speedup: .nan}\n", "'gates.speedup' must be"),
    "infinity among arguments": (with_arguments(".inf"), "must be a finite number. Got inf."),
    "true as a number": (RECIPE.encode() + b"seed: true\n", "'seed' must be an int"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_beyond_bounds_or_no_text(case: str, refused) -> None:
    content, sentence = CASES[case]
    Path("recipe.yaml").write_bytes(content)
    assert sentence in refused("recipe.yaml")


OVERRIDES = {
    "seed=" + "9" * 5000: "is too long for a whole number",
    "stages.²=1": "unknown stage '²'",
    "stages[²].use=1": "stages[²]",
    "measure.batch_sizes.²=3": "an item of 'measure.batch_sizes' is named by its number. Got '²'",
    "stages." + "9" * 5000 + ".use=train": "has 2 item(s), numbered from 0: there is no 9999",
    ".".join("a" * 5000) + "=1": f"an override may name at most {MOST_DEPTH} keys. Got 5,000.",
    ".".join("a" * MOST_DEPTH) + "=[[1]]": "mappings and lists may lie in one another",
    "k" * 200_000 + "=1": "a key must be of at most",
    "name=" + "[" * 50_000: DEEP,
    "name=" + laughs(9).decode(): MANY,
    "measure.batch_sizes=[&a [1,1,1], &b [*a,*a,*a], " + "*b," * 3000 + "]": MANY,
    "seed=!!int abc": "'abc' isn't a whole number",
    'name="\\U99999999"': "this isn't YAML",
    "name=\udcff": "this isn't YAML: unacceptable character",
    "name=" + "x" * (MOST_BYTES + 1): "a recipe may be of at most",
}


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: override[:30])
def test_an_override_beyond_bounds(override: str, refused) -> None:
    Path("recipe.yaml").write_text(RECIPE + "measure: {batch_sizes: [1, 2]}\n", encoding="utf-8")
    said = refused("recipe.yaml", "--set", override)
    assert said.startswith("error: --set ")
    assert OVERRIDES[override] in said


@pytest.mark.parametrize("bom", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_a_byte_order_mark_and_line_ends_of_windows_are_taken(
    bom: bytes, ending: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("recipe.yaml").write_bytes(bom + RECIPE.encode().replace(b"\n", ending))
    with pytest.raises(SystemExit) as ended:
        main(["check", "recipe.yaml"])
    assert ended.value.code == 0, capsys.readouterr().err


def test_what_is_no_file_is_not_opened(refused, tmp_path: Path) -> None:
    os.mkfifo("pipe.yaml")
    assert "pipe.yaml: this file can't be read: it is a pipe or a device" in refused("pipe.yaml")
    assert "it is a pipe or a device" in refused("/dev/zero")
    assert "is a directory" in refused(str(tmp_path))
    assert "is too long" in refused("r" * 5000 + ".yaml")
    assert "null byte" in refused("r\0.yaml")
    assert "not a directory" in refused("recipe.yaml/recipe.yaml")


def test_as_many_stages_as_are_allowed_are_checked_quickly(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stages = "".join(f"  - {{use: prune, name: p{at}}}\n" for at in range(MOST_STAGES - 2))
    text = RECIPE.replace("  - use: export\n", stages + "  - use: export\n")
    Path("recipe.yaml").write_text(text.replace("use: prune", "use: prune, target: {macs: 0.5}"))
    start = time.perf_counter()
    with pytest.raises(SystemExit) as ended:
        main(["check", "recipe.yaml"])
    assert ended.value.code == 0, capsys.readouterr().err
    assert time.perf_counter() - start < SECONDS


def test_problems_beyond_a_hundred_are_counted(refused) -> None:
    Path("recipe.yaml").write_text(RECIPE + "".join(f"key{at}: 1\n" for at in range(3000)))
    said = refused("recipe.yaml").splitlines()
    assert len(said) == MOST_PROBLEMS + 1
    assert said[-1] == "error: recipe.yaml … and 2,900 more."


def test_recipes_made_in_python_have_the_same_bounds() -> None:
    endless: list[object] = []
    endless.append(endless)
    for value, sentence in (
        (endless, "may lie in one another"),
        ([0] * (MOST_ITEMS + 1), f"at most {MOST_ITEMS:,} keys and values"),
        ({1: 2}, "a key must be a string"),
    ):
        with pytest.raises(RecipeError) as caught:
            recipe_from_dict({"version": 1, "model": value})
        [problem] = caught.value.problems
        assert re.search(sentence, problem)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**39), 10**39) | st.text("abc é", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_small_is_within_bounds(value: object) -> None:
    assert not list(beyond(value))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 8), st.integers(1, 9), st.booleans())
def test_aliases_count_as_what_they_name(levels: int, fan: int, mapped: bool) -> None:
    lines = ["a0: &a0 [x]"]
    for level in range(1, levels):
        inner = [f"*a{level - 1}"] * fan
        made = ", ".join(f"k{at}: {one}" for at, one in enumerate(inner) if mapped)
        lines.append(
            f"a{level}: &a{level} " + (f"{{{made}}}" if mapped else f"[{', '.join(inner)}]")
        )
    document = parse("\n".join(lines), "text")
    assert (document.data is None) == any(MANY in str(one) for one in document.problems)
    sizes = [2]
    for _ in range(1, levels):
        sizes.append(1 + fan * (sizes[-1] + mapped))
    total = 1 + sum(1 + size for size in sizes)
    assert (document.data is not None) == (total <= MOST_ITEMS)


def numbers_without_maximum(node: object, path: str) -> list[str]:
    if isinstance(node, list):
        return [
            at for n, item in enumerate(node) for at in numbers_without_maximum(item, f"{path}/{n}")
        ]
    if not isinstance(node, dict):
        return []
    bounded = {"maximum", "exclusiveMaximum", "const", "enum"} & set(node)
    here = [path] if node.get("type") in ("integer", "number") and not bounded else []
    return here + [
        at for key, item in node.items() for at in numbers_without_maximum(item, f"{path}/{key}")
    ]


def test_every_number_of_a_recipe_has_a_maximum() -> None:
    assert numbers_without_maximum(recipe_schema(), "") == []


@pytest.mark.parametrize(
    "override",
    [
        "stages.train.training.epochs=1000000000000",
        "stages.train.training.accumulation_steps=1" + "0" * 30,
        "stages.train.training.batch_size=1000000000",
        "stages.train.training.early_stopping=1000000000000",
        "stages.train.training.warmup=1000",
        "measure.rounds=1000000000",
        "measure.warmup=1000000000",
        "measure.samples=1" + "0" * 30,
        "measure.batch_sizes=[1000000000]",
        "data.max_length=1000000000",
        "data.image={size: [20000, 20000]}",
        "data.limit={train: 1" + "0" * 30 + "}",
        "data.calibration_samples=1" + "0" * 30,
        "gates.speedup=1e300",
    ],
)
def test_numbers_that_would_never_end(override: str, refused) -> None:
    said = refused("recipe.yaml", "--set", override)
    assert said.startswith(f"error: --set {override} ")
    assert "must be" in said
