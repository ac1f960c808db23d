"""Right inputs with small changes, through the real command: it ends as every command must.

`benchmarks/fuzz` runs thousands of these; here are a few of each kind, always the same.
"""

import random
import shutil
from contextlib import chdir
from functools import partial

import kinds
import mutations
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge import judged

CHANCE = st.randoms(use_true_random=False)
few = partial(settings, settings.get_profile("fuzzing"))


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """The folder of a kind's templates, made when they are first asked for."""
    folder = tmp_path_factory.mktemp("templates")
    made = {}

    def of(kind):
        prepare = kinds.KINDS[kind].prepare
        if prepare not in made:
            made[prepare] = folder / kind
            prepare(made[prepare])
        return made[prepare]

    return of


@pytest.fixture(scope="module")
def ends_well(templates, tmp_path_factory):
    """Runs a case of a kind in a folder of its own, and asserts that nothing is wrong with it."""
    parent = tmp_path_factory.mktemp("cases")

    def run(kind, chance, *, commands=None):
        case = kinds.KINDS[kind].make(templates(kind), chance)
        place = parent / "case"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(templates(kind) / case.template, place)
        (place / case.file).write_bytes(case.content)
        with chdir(place):
            for arguments in case.commands[:commands]:
                verdict = judged(arguments, folder=parent, output=place / kinds.OUTPUT)
                assert not verdict.wrong, (case.file, case.content[:2000], verdict.said)

    return run


@given(chance=CHANCE)
@few(max_examples=40)
def test_recipes(ends_well, chance):
    ends_well("recipes", chance, commands=1)


@given(
    text=st.text(max_size=80) | st.sampled_from(mutations.SNIPPETS),
    key=st.sampled_from(["name", "stages", "model"]),
)
@few(max_examples=30)
def test_recipes_with_any_text_as_a_value(tmp_path_factory, text, key):
    folder = tmp_path_factory.mktemp("text")
    content = f"version: 1\n{key}: {text}\n"
    (folder / "recipe.yaml").write_bytes(content.encode("utf-8", "surrogatepass"))
    with chdir(folder):
        verdict = judged(["check", "recipe.yaml"], folder=folder, output=folder / "out")
    assert not verdict.wrong
    assert verdict.code == 2


@given(content=st.binary(max_size=120))
@few(max_examples=30)
def test_recipes_of_any_bytes(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "recipe.yaml").write_bytes(content)
    with chdir(folder):
        verdict = judged(["check", "recipe.yaml"], folder=folder, output=folder / "out")
    assert not verdict.wrong
    assert verdict.code == 2


@pytest.mark.parametrize(
    ("kind", "count"), [("data", 3), ("models", 4), ("onnx", 2), ("bundles", 5), ("runs", 1)]
)
def test_files(ends_well, kind, count):
    for number in range(count):
        ends_well(kind, random.Random(f"0 {kind} {number}"))  # noqa: S311


FOUND = [
    ("recipes", "recipe.yaml", b"version: 1\nmodel: {config: {model_type: {x: mobilenet_v2}}}\n"
     b"name: m\ntask: image-classification\ndata: {sklearn: digits}\nstages: [{use: export}]\n"),
    ("models", "model/tokenizer_config.json",
     b'{"tokenizer_class": "BertTokenizer", "pad_token": "[PAD]", "model_max_length": [16]}'),
    ("models", "model/tokenizer_config.json",
     b'{"tokenizer_class": "BertTokenizer", "pad_token": "[PAD]", "model_max_length": NaN}'),
]  # fmt: skip
"""What ended as a fault once."""


@pytest.mark.parametrize(("kind", "file", "content"), FOUND)
def test_what_was_found_stays_mended(templates, tmp_path, kind, file, content):
    [template] = templates(kind).iterdir()
    place = tmp_path / "case"
    shutil.copytree(template, place)
    (place / file).write_bytes(content)
    command = ("check", "recipe.yaml") if kind == "recipes" else kinds.KINDS[kind].right[0]
    with chdir(place):
        verdict = judged(command, folder=tmp_path, output=place / kinds.OUTPUT)
    assert not verdict.wrong
    assert verdict.code == 2 or kind == "recipes"


def test_what_a_command_may_not_do_is_found(templates, tmp_path):
    """A file that it wrote where it may not, one that it changed, and a fault."""
    shutil.copytree(templates("onnx") / "run", tmp_path / "run")
    with chdir(tmp_path / "run"):
        arguments = (*kinds.KINDS["onnx"].right[0], "--json", "figures.json")
        verdict = judged(arguments, folder=tmp_path, output=tmp_path / "run" / "elsewhere")
        assert verdict.wrong == ("wrote run/figures.json",)
        allowed = judged(arguments, folder=tmp_path, output=tmp_path / "run" / "figures.json")
        assert allowed.wrong == ()


def test_faults_are_found(tmp_path, monkeypatch):
    def failing(name):
        raise ZeroDivisionError("so")

    monkeypatch.setattr("compress.recipe.catalog.stages.catalog", failing)
    verdict = judged(["stages"], folder=tmp_path, output=tmp_path / "out")
    assert verdict.code == 3
    assert any("unhandled" in line for line in verdict.wrong)


@given(chance=CHANCE, value=st.binary(max_size=60))
@few(max_examples=100)
def test_mutations_give_what_a_file_may_hold(chance, value):
    assert isinstance(mutations.raw(value, chance), bytes)
    assert isinstance(mutations.text(value.decode("latin-1"), chance), str)
    tree = {"a": [1, {"b": None}], "c": value.hex()}
    assert isinstance(mutations.tree(tree, chance), dict)
    assert tree == {"a": [1, {"b": None}], "c": value.hex()}
