"""Runs side by side, whose rows kept their answers."""

import io
import json

import numpy as np
import pytest

from compress.errors import InputError
from compress.measurement.paired.kept import KeptAnswers
from compress.report.comparison.compare import compare, row_names, unlike
from compress.report.comparison.documents import (
    comparison_html,
    comparison_json,
    comparison_markdown,
)
from compress.report.comparison.recipes import changed_lines
from compress.report.comparison.runs import Run, read_runs
from compress.report.comparison.tables import verdicts
from compress.report.comparison.terminal import show_comparison
from compress.report.document import ANSWERS, stage_folder, write_report
from compress.report.terminal import plain_console
from tests.report.samples import make_report, make_row

SIDE_BY_SIDE = """\

 stage     first             second
 ────────────────────────────────────────────
 original  0.8615  91.0 MB   0.8615  91.0 MB
           1: 18.2 ms        1: 18.2 ms
           32: 502 ms        32: 502 ms
 prune     -                 0.8585  45.5 MB
                             1: 9.10 ms 2.00x
                             32: 251 ms 2.00x
 distill   0.8585  45.5 MB   -
           1: 9.10 ms 2.00x
           32: 251 ms 2.00x
 quantize  0.8555  30.3 MB   0.8555  30.3 MB
           1: 6.07 ms 3.00x  1: 6.07 ms 3.00x
           32: 167 ms 3.00x  32: 167 ms 3.00x
"""


def with_rows(*names, **changes):
    rows = [make_row(index, name) for index, name in enumerate(names)]
    return make_report().model_copy(update={"stages": rows, **changes})


def right(report, name, *, moved=0, test_data="the test split"):
    """Answers that give a row its accuracy; the wrong ones come `moved` samples later."""
    row = next(row for row in report.stages if row.name == name)
    samples = row.quality.samples
    held = np.arange(samples) < round(row.quality.value * samples)
    said = np.roll(held, moved)
    predicted = said.astype(np.int32)
    return KeptAnswers(
        row.quality,
        test_data=test_data,
        held=said,
        predicted=predicted,
        labels=np.ones(samples, np.int32),
        classes=("no", "yes"),
    )


def write_run(folder, report, answers):
    folder.mkdir()
    write_report(report, folder)
    for row in report.stages:
        if row.name in answers:
            place = folder / "stages" / stage_folder(row.index, row.name)
            place.mkdir(parents=True)
            (place / ANSWERS).write_bytes(answers[row.name].to_bytes())
    return folder


@pytest.fixture
def two(tmp_path):
    """Two runs: the same original, and a last row of 0.8585 against 0.8555 right answers."""
    first, second = with_rows("original", "distill"), with_rows("original", "prune", "distill")
    second = second.model_copy(update={"name": "other"})
    folders = []
    for name, report in (("a", first), ("b", second)):
        answers = {row.name: right(report, row.name) for row in report.stages}
        folders.append(write_run(tmp_path / name, report, answers))
    return folders


def terminal(comparison):
    console = plain_console(io.StringIO())
    show_comparison(comparison, console)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def test_runs_side_by_side():
    second = with_rows("original", "prune", "quantize", status="passed", gates=[])
    text = terminal(compare([Run("first", make_report()), Run("second", second)]))
    assert text.startswith(SIDE_BY_SIDE.rstrip("\n"))
    assert text.endswith("first: a gate failed (accuracy drop)\nsecond: passed")


def test_rows_keep_the_order_of_every_run_and_a_lone_file_comes_last():
    runs = [
        with_rows("original", "distill", "export"),
        with_rows("original", "prune", "export"),
        with_rows("original", "train", "prune"),
        with_rows("rival"),
    ]
    assert row_names(runs) == ["original", "train", "prune", "distill", "export", "rival"]


def test_unlike_measurements_are_pointed_out_first():
    report = make_report()
    other = report.model_copy(
        update={"environment": {"cpu": "Arm", "threads": 4}, "test_data": "x", "name": "b"}
    )
    report = report.model_copy(update={"test_data": "y"})
    assert unlike([report, report]) == []
    assert unlike([report, other]) == [
        "measured with different CPUs: Arm; Xeon.",
        "measured with CPUs of different abilities: avx2 avx512_vnni; none known.",
        "measured with different threads: 1; 4.",
        "measured with different versions of ONNX Runtime: 1.32.0; unknown.",
        "the test data differ: qualities are of different samples.",
    ]
    comparison = compare([Run("first", report), Run("second", other)])
    assert terminal(comparison).startswith("careful: measured with different CPUs: Arm; Xeon.")
    assert "**Careful: the test data differ" in comparison_markdown(comparison)


def test_runs_of_one_name_are_titled_by_their_paths(tmp_path):
    for name in ("a", "b"):
        write_run(tmp_path / name, make_report(), {})
    titles = [run.title for run in read_runs([tmp_path / "a", tmp_path / "b" / "report.json"])]
    assert titles == [str(tmp_path / "a"), str(tmp_path / "b" / "report.json")]
    assert [run.title for run in read_runs([tmp_path / "a"])] == ["sections"]
    with pytest.raises(InputError, match="there is no report"):
        read_runs([tmp_path / "c"])


def test_rows_are_compared_sample_by_sample_by_their_kept_answers(two):
    comparison = compare(read_runs(two))
    same, pruned, last = (comparison.rows[name][1] for name in ("original", "prune", "distill"))
    assert (same.difference.change, same.difference.verdict) == (0, "no difference seen")
    assert pruned.against == "distill"  # the first run has no such row: its last one
    assert pruned.difference.change == 0
    assert last.difference.change == pytest.approx(-0.003)
    assert last.difference.verdict == "worse"  # twelve samples lost and none gained
    assert last.difference.p_value == pytest.approx(2 * 0.5**12)
    assert not comparison.warnings
    assert verdicts(comparison) == [
        "other: 'distill' against the first run's 'distill': accuracy 0.8555, -0.0030 (95 %: "
        "-0.0052 to -0.0017), worse (McNemar's exact test, p < 0.001, 4,000 samples), 99.7% of the "
        "answers alike. The smallest difference that these samples could show is 0.0020."
    ]
    assert "-0.0030 worse" in terminal(comparison)


def test_a_report_without_answers_is_shown_untested_and_said_so(two, tmp_path):
    alone = tmp_path / "copied.json"
    alone.write_bytes((two[1] / "report.json").read_bytes())
    comparison = compare(read_runs([two[0], alone]))
    assert all(cells[1] is None or not cells[1].difference for cells in comparison.rows.values())
    assert comparison.warnings == [
        "other: no row has kept answers beside the report, so that differences aren't tested."
    ]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path, report: path.write_bytes(b"{}"), "the answers of distill can't be read"),
        (lambda path, report: path.unlink(), "the answers of distill weren't kept"),
        (
            lambda path, report: path.write_bytes(right(report, "original").to_bytes()),
            "the answers of distill belong to another report",
        ),
        (
            lambda path, report: path.write_bytes(
                right(report, "distill", test_data="others").to_bytes()
            ),
            "can't be compared sample by sample: they answered different test samples",
        ),
    ],
)
def test_answers_that_are_not_the_rows_own_are_not_used(two, spoil, said):
    report = read_runs(two)[1].report
    spoil(two[1] / "stages" / "02-distill" / ANSWERS, report)
    comparison = compare(read_runs(two))
    assert comparison.rows["distill"][1].difference is None
    assert any(said in warning for warning in comparison.warnings)


def test_a_name_in_a_report_leads_out_of_no_folder(two):
    plain = json.loads((two[1] / "report.json").read_text())
    plain["stages"][2]["name"] = "/../../../a/stages/01-distill"
    (two[1] / "report.json").write_text(json.dumps(plain))
    other = read_runs(two)[1]
    assert set(other.answers) == {"original", "prune"}


def test_the_keys_by_which_recipes_differ():
    def recipe(name, layers, *more, **changes):
        distill = {"use": "distill", "name": "distill", "student": {"layers": layers}}
        return {"name": name, "seed": 0, **changes, "stages": [distill, *more]}

    prune = {"use": "prune", "name": "prune", "target": {"macs": 0.5}}
    lines = changed_lines([recipe("a", 3), recipe("b", 2, prune, model={"onnx": "x.onnx"})])
    assert [tuple(line) for line in lines] == [
        ("stages", ('["distill"]', '["distill", "prune"]')),
        ("stages.distill.student.layers", ("3", "2")),
        ("model.onnx", (None, '"x.onnx"')),
    ]
    assert changed_lines([recipe("a", 3), recipe("b", 3)]) == []
    assert changed_lines([recipe("a", 3), {}]) == []


def test_the_same_in_markdown_html_and_json(two):
    recipes = [{"name": "a", "seed": 0}, {"name": "b", "seed": 1}]
    for folder, recipe in zip(two, recipes, strict=True):
        plain = json.loads((folder / "report.json").read_text())
        (folder / "report.json").write_text(json.dumps({**plain, "recipe": recipe}))
    comparison = compare(read_runs(two))
    markdown = comparison_markdown(comparison)
    assert "0.8555  30.3 MB<br>-0.0030 worse<br>1: 6.07 ms 3.00x" in markdown.replace(" 30", "  30")
    assert "| seed | 0 | 1 |" in markdown
    page = comparison_html(comparison)
    assert '<span class="line worse">-0.0030 worse</span>' in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    plain = json.loads(comparison_json(comparison))
    assert plain["schema"] == 1
    last = plain["rows"][-1]
    assert last["name"] == "distill"
    assert last["cells"][0]["difference"] is None
    assert last["cells"][1]["difference"]["verdict"] == "worse"
    assert plain["recipes"] == [{"key": "seed", "values": ["0", "1"]}]
