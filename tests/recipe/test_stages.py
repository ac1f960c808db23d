"""What stages say of themselves, in the check and in the plan."""

import re

import pytest

from compress.cli import main
from compress.errors import RecipeError
from compress.recipe.load import load_recipe
from compress.recipe.plan import describe, stage_warnings
from compress.stages.contract import Stage
from compress.stages.prune.stage import Prune
from compress.stages.train import Train


def distilled(problems, fields, data="{sklearn: digits}"):
    text = "version: 1\nname: a\nmodel: {python: 'compress.models.resnet:resnet'}\n"
    text += f"task: image-classification\ndata: {data}\nstages:\n  - use: distill\n"
    return problems(text + "".join(f"    {line}\n" for line in fields))


def test_what_a_stage_finds_is_told_at_its_line(problems, monkeypatch):
    def check(self, *, task, model, data):
        assert (task, data.sklearn) == ("image-classification", "digits")
        assert model.python == "compress.models.resnet:resnet"
        return [
            ("target.macs", "must be such. Got so."),
            ("recovery", "'recovery' is odd."),
            ("units", "is named for no reason."),
        ]

    monkeypatch.setattr(Prune, "check", check)
    assert problems(overrides=("stages.prune.target={macs: 0.5}",)) == [
        "r.yaml:9 stages[1] (prune): 'recovery' is odd.",
        "r.yaml:9 stages[1] (prune): 'units': is named for no reason.",
        "--set stages.prune.target={macs: 0.5} "
        "stages[1] (prune): 'target.macs' must be such. Got so.",
    ]


def test_a_stage_is_not_asked_where_model_or_data_are_wrong(problems, monkeypatch):
    def check(self, **given):
        raise AssertionError("asked")

    monkeypatch.setattr(Prune, "check", check)
    [found] = problems(replace=("data: {sklearn: digits}", "data: {sklearn: digit}"))
    assert "'data.sklearn'" in found
    [found] = problems(replace=("macs: 0.5", "macs: 2"))
    assert "'target.macs'" in found


def test_labels_weigh_nothing_where_there_are_none(problems):
    data = "{sklearn: digits, columns: {label: null}}"
    student = ["student:", "  python: 'compress.models.resnet:resnet'"]
    sentence = (
        "r.yaml:{} stages[0] (distill): 'losses.labels.weight' must be 0: the data has no labels "
        "('data.columns.label' is null). Got 0.3."
    )
    assert sentence.format(7) in distilled(problems, student, data)
    weighted = [*student, "losses:", "  labels:", "    weight: 0.3"]
    assert sentence.format(12) in distilled(problems, weighted, data)
    assert not distilled(problems, [*student, "losses: {labels: {weight: 0}}"], data)
    assert not distilled(problems, [*student, "losses: {labels: null}"], data)


def test_layers_of_a_plain_module_are_refused(problems):
    assert distilled(problems, ["student:", "  layers: 3"]) == [
        "r.yaml:9 stages[0] (distill): 'student.layers' needs a 'transformers' model; "
        "the recipe's is 'python'."
    ]


def test_another_source_of_data_is_checked_under_its_own_key(problems):
    fields = ["unlabeled:", "  huggingface: csv", "  files:", "    train: b.csv"]
    assert distilled(problems, fields) == [
        "r.yaml:11 stages[0] (distill): 'unlabeled.files.train': there is no file 'b.csv': "
        "no such file or directory."
    ]


def test_the_same_architecture_is_said_with_self(problems, good):
    assert distilled(problems, ["student: {self: true}"]) == []
    assert load_recipe(good).stages[0].stage.student.self is True
    [found] = distilled(problems, ["student: {self: true, layers: 2}"])
    assert found.startswith("r.yaml:8 stages[0] (distill): 'student' must be given by 'layers'")


def test_warnings_stand_under_their_stage(good, monkeypatch):
    def warnings(self, *, task, model, data):
        return [f"for {task} of {data.sklearn}"]

    monkeypatch.setattr(Train, "warnings", warnings)
    monkeypatch.setattr(Prune, "warnings", warnings)
    recipe = load_recipe(good, overrides=["stages.2={use: prune, name: more, target: {macs: 0.5}}"])
    line = "for image-classification of digits"
    counted = "as if this stage were given the recipe's model as it is"
    assert stage_warnings(recipe) == {"train": [line], "prune": [line], "more": [line, counted]}
    lines = describe(recipe)
    place = next(at for at, text in enumerate(lines) if text.startswith("  1  train"))
    assert lines[place + 1] == f"     {line}"
    assert lines[place + 2].startswith("  2  prune")


def test_a_run_says_it_before_any_work(good, monkeypatch, tmp_path):
    from compress.errors import StageError
    from compress.runner import pipeline

    class Said:
        def __init__(self):
            self.lines = []

        def say(self, line):
            self.lines.append(line)

    def stop(self, *given):
        raise StageError("stopped")

    monkeypatch.setattr(Train, "warnings", lambda self, **given: ["a line"])
    monkeypatch.setattr("compress.runner.folder.workdir.Workdir.open", stop)
    said = Said()
    with pytest.raises(StageError, match="stopped"):
        pipeline.run(good, output=tmp_path / "out", device="cpu", threads=1, progress=said)
    assert said.lines == [
        "runs code that the recipe names: model.python: compress.models.resnet:resnet",
        "train: a line",
    ]


def test_by_default_a_stage_says_nothing(good):
    recipe = load_recipe(good)
    quantize = recipe.stages[2].stage
    assert type(quantize).check is Stage.check or isinstance(
        quantize.check(task=recipe.task, model=recipe.model, data=recipe.data), list
    )
    assert stage_warnings(recipe) == {}


TALL = """\
version: 1
name: tall
model: {config: {model_type: distilbert, dim: 16, n_heads: 2, hidden_dim: 24, vocab_size: 40}}
task: text-classification
data: {python: "builtins:dict"}
stages:
  - use: distill
    student: {layers: 12}
  - use: quantize
"""
"""A student of twelve layers, where the config leaves the number to its class: six."""


def test_a_student_of_more_layers_than_the_model_has_ends_the_check(good):
    good.write_text(TALL)
    said = "stage 'distill': 'layers' must be at most the teacher's 6. Got 12."
    with pytest.raises(RecipeError, match=re.escape(said)):
        describe(load_recipe(good))
    with pytest.raises(SystemExit) as ended:
        main(["check", str(good)])
    assert ended.value.code == 2


def test_nothing_is_said_against_a_student_of_a_model_that_another_stage_makes(good):
    other = "  - use: distill\n    name: other\n    student: {transformers: {n_layers: 24}}\n"
    good.write_text(TALL.replace("stages:\n", f"stages:\n{other}"))
    assert "distill" not in stage_warnings(load_recipe(good))
