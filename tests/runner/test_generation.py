"""A run for text generation: each row has tokens a second, and `auto` chooses by them."""

import copy
from typing import Any

import pytest

import compress
from compress.recipe.load import recipe_from_dict
from compress.report.document import read_report
from tests.runner.test_low_bit import VALUES

TRIALS = {"samples": 16, "rounds": 5, "seconds": 0.01}
PARTS = ["prefill", "decoding"]


def recipe(*stages: dict[str, Any], **measure: Any):
    values = copy.deepcopy(VALUES)
    del values["gates"]
    values["measure"] |= measure
    return recipe_from_dict(values | {"stages": list(stages)})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("generation") / "run"
    quantize = {
        "use": "quantize",
        "graph": "plain",
        "improve": [],
        "budget": 0.5,
        "calibration": {"samples": 8, "method": "minmax"},
        "evaluation": TRIALS | {"generation": {"answer": 3}},
    }
    wanted = recipe(quantize, generation={"prompt": 9, "answer": 5})
    return folder, compress.run(wanted, output=folder, threads=1)


def test_each_row_has_the_speed_of_both_parts_against_the_original(run):
    folder, report = run
    first, last = (row.generation for row in report.stages)
    for found in (first, last):
        assert (found.prompt, found.answer, found.cached) == (9, 5, True)
        assert found.prefill.tokens_per_second > found.decoding.tokens_per_second > 0
    assert first.decoding.speedup.ci95 is None
    assert first.decoding.speedup.vs_original == 1
    for rate in (last.prefill, last.decoding):
        low, high = rate.speedup.ci95
        assert low <= rate.speedup.vs_original <= high
        assert rate.speedup.vs_previous == rate.speedup.vs_original
    assert read_report(folder).stages == report.stages


def test_candidates_are_judged_as_they_generate(run):
    _, report = run
    candidates = report.stages[-1].candidates
    assert len(candidates) > 1
    for each in candidates:
        assert list(each.speedup) == list(each.latency_ms) == PARTS
        both = [each.speedup[part].vs_original for part in PARTS]
        assert each.pace == pytest.approx((both[0] * both[1]) ** 0.5)
    [chosen] = [note for note in report.stages[-1].notes if note.startswith("chosen: ")]
    assert "x in prefill, " in chosen
    assert "x in decoding" in chosen


def test_all_reports_show_the_table(run):
    folder, _ = run
    title = "Generation: a prompt of 9 tokens, an answer of 5"
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text(encoding="utf-8")
        assert title in text
        assert " tokens/s" in text
