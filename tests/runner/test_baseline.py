"""A run's linear rival: trained once, kept in the run's folder, compared with the reference."""

from dataclasses import replace

import pytest

import compress
from compress.core.context import Context
from compress.core.progress import Silent
from compress.measurement.spec import MeasureSpec
from compress.recipe.load import load_recipe
from compress.report import words
from compress.report.document import read_report
from compress.runner.baseline import find_baseline
from compress.runner.folder.workdir import Workdir
from compress.runner.inputs import load_inputs

RECIPE = """\
version: 1
name: rival
model: {python: "tests.runner.nets:convolution"}
task: image-classification
data: {sklearn: digits, calibration_samples: 32}
measure: {batch_sizes: [1], rounds: 5, warmup: 1, seconds: 0.01, samples: 120}
stages:
  - use: export
"""


class Lines(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    @property
    def trained(self):
        return any(line.startswith("baseline:") for line in self.lines)


@pytest.fixture(scope="module")
def recipe_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "rival.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture
def run(recipe_path, tmp_path):
    """Find the baseline for a recipe with changes, in a folder of a run."""
    workdir = Workdir(tmp_path / "run")
    inputs = load_inputs(load_recipe(recipe_path))

    def find(*, forget=False, seed=0, **measure):
        lines = Lines()
        context = Context(
            inputs.original, inputs.task, inputs.data, tmp_path, seed=seed, progress=lines
        )
        spec = MeasureSpec(samples=120).model_copy(update=measure)
        with workdir.open():
            if forget:
                workdir.forget()
            return find_baseline(inputs.original, context, spec, workdir.rival), lines.trained

    return find


def test_it_is_trained_once(run):
    (first, notes), trained = run()
    assert trained
    assert not notes
    assert first.baseline.quality.value > 0.9
    (again, _), trained = run()
    assert not trained
    assert again.baseline == first.baseline
    assert (again.answers.held == first.answers.held).all()


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"samples": 100}, {"metric": "f1_macro"}, {"forget": True}]
)
def test_what_decides_it_trains_it_again(run, change):
    run()
    _, trained = run(**change)
    assert trained


@pytest.mark.parametrize("change", [{"batch_sizes": (1, 7)}, {"seconds": 3.0}])
def test_what_does_not_decide_it_leaves_it(run, change):
    run()
    _, trained = run(**change)
    assert not trained


@pytest.mark.parametrize("name", ["baseline.json", "answers.safetensors"])
def test_a_changed_file_is_not_believed(run, tmp_path, name):
    run()
    file = tmp_path / "run" / ".compress" / "baseline" / name
    file.write_bytes(file.read_bytes() + b" ")
    if name == "baseline.json":
        file.write_text(file.read_text().replace('"value": 0.', '"value": 1.', 1))
    (found, _), trained = run()
    assert trained
    assert found.baseline.quality.value <= 1


@pytest.mark.parametrize("change", [{"baseline": None}, {"metric": "agreement"}])
def test_there_is_none_if_it_is_off_or_nobody_can_be_right(run, change):
    (found, notes), trained = run(**change)
    assert found is None
    assert not notes
    assert not trained


def test_why_there_is_none_is_noted(run, monkeypatch):
    monkeypatch.setattr("compress.measurement.baseline.inputs.MOST_PIXELS", 7)
    (found, notes), _ = run()
    assert found is None
    [note] = notes
    assert note.startswith("no baseline: a linear model is trained on images of at most 7")
    assert note.endswith("Got 8 by 8.")


def test_a_report_begins_with_a_rival_that_is_not_worse(recipe_path, tmp_path):
    lines = Lines()
    report = compress.run(recipe_path, output=tmp_path / "run", threads=1, progress=lines)
    assert lines.trained
    verdict = report.baseline.verdict
    assert (verdict.verdict, verdict.test, verdict.samples) == ("better", "mcnemar", 120)
    values = [report.baseline.quality.value, report.stages[0].quality.value]
    assert verdict.change == pytest.approx(values[0] - values[1])
    assert verdict.ci95[0] > 0.5, "the network isn't trained"
    first, *_ = words.headlines(report)
    assert first.startswith(
        "A linear model is better than the reference: linear model on pixels has accuracy "
        f"{values[0]:.4f} against {values[1]:.4f} of 'original' (+{verdict.change:.4f}, 95 % "
    )
    assert read_report(tmp_path / "run").baseline == report.baseline

    lines = Lines()
    without = compress.run(
        recipe_path,
        overrides=["measure.baseline=null"],
        output=tmp_path / "run",
        threads=1,
        progress=lines,
    )
    assert without.baseline is None
    assert words.baseline(without) is None
    assert without.stages == report.stages, "no row was measured again"

    worse = replace(report.baseline, verdict=replace(verdict, verdict="worse"))
    told = report.model_copy(update={"baseline": worse})
    assert words.headlines(told) == words.headlines(without)
    assert words.baseline(told).startswith("A linear model is not as good as the reference: ")
