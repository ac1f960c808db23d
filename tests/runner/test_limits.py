"""Limits on figures: judged row by row, and what follows when one doesn't hold."""

import pytest

import compress
from compress.core.progress import Silent
from compress.errors import StageError
from compress.measurement.results import Latency, Quality, Speedup
from compress.recipe.gates.figures import FIGURES, figure
from compress.recipe.gates.limit import Limit
from compress.report import tables, words
from compress.report.document import Row, report_schema
from compress.runner.gates.limits import judge_limits

ROW = Row(
    index=2,
    name="prune",
    params=10,
    macs=20,
    size_bytes=3000,
    quality=Quality("accuracy", 0.9, (0.85, 0.95), 100),
    latency_ms={"1": Latency(2.0, 3.0)},
    speedup={"1": Speedup(4.0, (3.5, 4.5), 1.2, (1.1, 1.3))},
    recall={"news.it": 0.5},
)


def judged(**keys):
    [found] = judge_limits([Limit(stage="prune", **keys)], ROW)
    return found


@pytest.mark.parametrize(
    ("keys", "value", "passed"),
    [
        ({"figure": "quality", "at_least": 0.9}, 0.9, True),
        ({"figure": "quality", "at_least": 0.9, "confident": True}, 0.9, False),
        ({"figure": "quality.value", "at_least": 0.85, "confident": True}, 0.9, True),
        ({"figure": "quality", "at_most": 0.9}, 0.9, True),
        ({"figure": "quality", "at_most": 0.94, "confident": True}, 0.9, False),
        ({"figure": "size_bytes", "at_most": 3000}, 3000, True),
        ({"figure": "size_bytes", "at_most": 2999}, 3000, False),
        ({"figure": "latency_ms.1", "at_most": 2.5}, 2.0, True),
        ({"figure": "latency_ms.1.p95", "at_most": 2.5}, 3.0, False),
        ({"figure": "speedup.1", "at_least": 3.8}, 4.0, True),
        ({"figure": "speedup.1", "at_least": 3.8, "confident": True}, 4.0, False),
        ({"figure": "speedup.1.vs_previous", "at_least": 1.1, "confident": True}, 1.2, True),
        ({"figure": "recall.news.it", "at_least": 0.6}, 0.5, False),
    ],
)
def test_a_limit_is_on_the_value_or_on_the_end_of_its_interval(keys, value, passed):
    found = judged(**keys)
    assert (found.value, found.passed, found.row) == (value, passed, "prune")
    assert (found.ci95 is not None) == keys.get("confident", False)


def test_only_the_limits_of_a_row_judge_it():
    limits = [
        Limit(figure="params", at_most=1, stage="prune"),
        Limit(figure="macs", at_most=1, stage="distill"),
        Limit(figure="size_bytes", at_most=1),
    ]
    assert [found.name for found in judge_limits(limits, ROW)] == ["params"]
    assert [found.name for found in judge_limits(limits, ROW, whole_run=True)] == ["size_bytes"]


@pytest.mark.parametrize("name", ["serving.memory_bytes", "latency_ms.8", "vs_reference"])
def test_a_figure_that_was_not_measured_does_not_pass(name):
    with pytest.raises(
        StageError, match=r"can't be judged: no such figure was measured of 'prune'"
    ):
        judged(figure=name, at_most=1e9)


def fields(schema, definitions):
    """The properties of an object in a schema, or the values' of a mapping."""
    branches = schema.get("anyOf", [schema])
    for branch in branches:
        found = definitions[branch["$ref"].rpartition("/")[2]] if "$ref" in branch else branch
        if "properties" in found:
            return found["properties"]
        if isinstance(found.get("additionalProperties"), dict):
            return {"*": found["additionalProperties"]}
    return {}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_a_number_of_a_row_with_its_interval_beside_it(name):
    schema = report_schema()
    definitions = schema["$defs"]
    *path, last = name.split(".")
    inner = definitions["Row"]["properties"]
    for key in path:
        inner = fields(inner[key], definitions)
    kinds = {branch.get("type") for branch in inner[last].get("anyOf", [inner[last]])}
    assert kinds <= {"number", "integer", "null"}
    assert kinds & {"number", "integer"}
    if FIGURES[name] is not None:
        assert FIGURES[name] in inner


def test_short_names_stand_for_whole_ones():
    assert figure("quality").name == "quality.value"
    assert figure("latency_ms.32").name == "latency_ms.32.p50"
    assert figure("vs_previous").interval == ("vs_previous", "ci95")
    with pytest.raises(ValueError, match=r"unknown figure 'latency_ms'"):
        figure("latency_ms")


class Lines(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


RECIPE = """\
version: 1
name: limited
model: {python: "tests.runner.nets:convolution"}
task: image-classification
data: {sklearn: digits, calibration_samples: 32}
measure: {batch_sizes: [1], rounds: 5, warmup: 1, seconds: 0.01, samples: 100, baseline: null}
stages:
  - use: quantize
    method: static
    calibration: {samples: 32, method: minmax}
    evaluation: {samples: 32, rounds: 5, seconds: 0.01}
    budget: 0.99
  - use: export
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """Run the recipe with limits; stages are made once."""
    folder = tmp_path_factory.mktemp("limited")
    (folder / "r.yaml").write_text(RECIPE, encoding="utf-8")

    def run(*limits, progress=None):
        said = ", ".join("{" + limit + "}" for limit in limits)
        return compress.run(
            folder / "r.yaml",
            overrides=[f"gates.limits=[{said}]"],
            output=folder / "run",
            threads=1,
            progress=progress,
        )

    return run


def test_a_run_goes_on_from_the_model_before_a_stage_that_fails(limited):
    report = limited("figure: params, at_most: 1, stage: quantize, then: roll_back")
    assert report.status == "passed"
    original, quantize, export = report.stages
    assert quantize.left_aside
    assert not export.left_aside
    assert (export.params, export.size_bytes > quantize.size_bytes) == (original.params, True)
    assert export.vs_previous.change == 0, "compared with the model that it was made from"
    assert report.final == export
    assert quantize.notes[-1].startswith("left aside: params of quantize is ")
    assert quantize.notes[-1].endswith("; the run goes on from 'original'")
    [gate] = report.gates
    assert not gate.passed
    assert tables.gates(report).rows[0][-1] == words.outcome(gate) == "rolled back"

    progress = Lines()
    again = limited(
        "figure: params, at_most: 1, stage: quantize, then: roll_back", progress=progress
    )
    assert sum("taken from disk" in line for line in progress.lines) == 3
    assert again.stages == report.stages


def test_a_run_stops_after_a_stage_that_fails(limited):
    report = limited("figure: quality, at_least: 1.0, stage: quantize")
    assert report.status == "gate_failed"
    assert [row.name for row in report.stages] == ["original", "quantize"]
    [note] = [note for note in report.notes if note.startswith("stopped after 'quantize'")]
    assert "quality.value of quantize is 0." in note
    assert note.endswith("must be at least 1; stages that didn't run: export")


def test_a_warning_stops_nothing(limited):
    report = limited(
        "figure: params, at_most: 1, stage: quantize, then: warn", "figure: params, at_least: 1"
    )
    assert report.status == "passed"
    assert [words.outcome(gate) for gate in report.gates] == ["warning", "passed"]
    assert [gate.row for gate in report.gates] == ["quantize", "export"]


def test_a_limit_of_the_whole_run_fails_it_and_keeps_everything(limited):
    report = limited("figure: params, at_most: 1")
    assert report.status == "gate_failed"
    assert [row.name for row in report.stages] == ["original", "quantize", "export"]
