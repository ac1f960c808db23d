"""A row from which a run didn't go on: it is marked, and doesn't speak for the run."""

from compress.core.notes import careful
from compress.measurement.results import Evaluation, Latency, Speedup
from compress.report import words
from compress.report.comparison.compare import compare
from compress.report.comparison.runs import Run
from compress.report.comparison.tables import rows_table
from compress.report.document import GateResult, Report
from compress.report.headline import sentence
from compress.report.html import html
from compress.report.markdown import markdown
from compress.report.terminal import render
from tests.report.samples import make_report, make_row

SLOW = {"1": Speedup(0.5, (0.49, 0.51), 0.4, (0.39, 0.41))}


def rolled_back(*, aside: bool = True) -> Report:
    """A run whose last stage made a slower model."""
    last = make_row(2, "quantize", left_aside=aside, speedup=SLOW, notes=[careful("left aside: …")])
    gate = GateResult(
        name="speedup.1.vs_previous",
        limit=1.0,
        value=0.4,
        passed=False,
        row="quantize",
        bound="at_least",
        then="roll_back",
    )
    rows = [make_row(0, "original"), make_row(1, "distill"), last]
    return make_report().model_copy(update={"stages": rows, "gates": [gate], "status": "passed"})


def test_every_form_of_the_report_marks_the_row() -> None:
    report = rolled_back()
    [line] = [line for line in markdown(report).splitlines() if line.startswith("| quantize")]
    assert line.startswith("| quantize (left aside) |")
    lines = render(report).splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith(" quantize "))
    assert lines[at + 1].startswith(" left aside ")
    assert "ROLLED BACK" in render(report)
    page = html(report)
    assert "left aside" in page.partition('<h2 id="stages">')[2].partition("<h2")[0]
    assert list(report.to_frame()["left_aside"]) == [False, False, True]
    for form in (markdown, render, html):
        assert "left aside" not in form(make_report())


def test_the_run_is_told_by_the_model_that_it_went_on_from() -> None:
    assert "45.5 MB" in sentence(rolled_back())
    assert "30.3 MB" in sentence(rolled_back(aside=False))


def test_a_model_left_aside_makes_no_headline() -> None:
    slow = Evaluation(
        name="static",
        quality=make_row(2, "quantize").quality,
        loss=0.0,
        fits=True,
        chosen=True,
        latency_ms={"1": Latency(1, 1)},
        speedup=SLOW,
        size_bytes=1,
    )
    chosen = {"use": "quantize", "candidates": [slow]}
    for aside, said in ((False, 1), (True, 0)):
        report = rolled_back(aside=aside)
        row = report.stages[2].model_copy(update=chosen)
        report = report.model_copy(update={"stages": [*report.stages[:2], row]})
        assert len(words.headlines(report)) == said


def test_runs_are_compared_by_their_final_models() -> None:
    plain, aside = Run("plain", make_report()), Run("aside", rolled_back())
    found = compare([aside, plain])
    assert [cell.row.name for _, cell in found.finals] == ["distill", "quantize"]
    [quantize] = [cells for cells in rows_table(found).rows if cells[0] == "quantize"]
    assert "left aside" in quantize[1]
    assert "left aside" not in quantize[2]
    other = make_report().model_copy(
        update={"stages": [make_row(0, "original"), make_row(1, "cut")]}
    )
    cells = compare([aside, Run("other", other)]).rows["cut"]
    assert cells[1] is not None
    assert cells[1].against == "distill"
