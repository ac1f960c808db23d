"""A linear rival in a report: in the first line, whoever is better, and gates in words."""

from dataclasses import replace

import pytest

from compress.measurement.results import Baseline, Difference, Quality
from compress.report import tables, words
from compress.report.document import GateResult
from compress.report.headline import sentence
from compress.report.markdown import markdown
from compress.report.terminal import render
from tests.report.samples import make_report

DIFFERENCE = Difference(
    change=0.0197,
    ci95=(0.0088, 0.0306),
    p_value=0.0004,
    test="mcnemar",
    verdict="better",
    smallest=0.01,
    samples=4000,
)
BASELINE = Baseline(
    name="tf-idf + linear SVM",
    quality=Quality("accuracy", 0.8812, (0.8708, 0.8908), 4000),
    size_bytes=28_000_000,
    call_ms=1.234,
    seconds=40.0,
    runtime="scikit-learn 1.9.1",
    verdict=DIFFERENCE,
)
FIGURES = (
    "tf-idf + linear SVM has accuracy 0.8812 against 0.8615 of 'original' (+0.0197, 95 % +0.0088 "
    "to +0.0306, p = 0.0004, 4,000 test samples), in 28.0 MB and 1.2 ms a call in scikit-learn "
    "1.9.1."
)


def told(verdict):
    difference = replace(DIFFERENCE, verdict=verdict)
    return make_report().model_copy(update={"baseline": replace(BASELINE, verdict=difference)})


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("better", "A linear model is better than the reference"),
        ("no difference seen", "A linear model is as good as the reference"),
        (
            "too few samples to tell",
            "A linear model may be as good as the reference, by these samples",
        ),
    ],
)
def test_a_rival_that_is_not_worse_comes_first(verdict, said):
    report = told(verdict)
    assert words.headlines(report)[0] == f"{said}: {FIGURES}"
    assert FIGURES not in sentence(report)
    lines = " ".join(render(report, width=1000).splitlines()[:2])
    assert lines.startswith(f"sections: a gate failed {said}: ")
    assert markdown(report).split("\n\n")[2].startswith(f"**{said}: ")


def test_a_rival_that_is_worse_is_told_without_alarm():
    report = told("worse")
    assert words.headlines(report) == []
    assert sentence(report).endswith(f" A linear model is not as good as the reference: {FIGURES}")
    alone = report.model_copy(update={"stages": report.stages[:1]})
    assert sentence(alone) == f"A linear model is not as good as the reference: {FIGURES}"


def test_without_a_verdict_nothing_is_said():
    report = make_report().model_copy(update={"baseline": replace(BASELINE, verdict=None)})
    assert words.baseline(report) is None
    assert words.headlines(report) == []


def test_a_row_that_was_left_aside_is_not_the_result():
    report = make_report()
    *rows, last = report.stages
    aside = report.model_copy(
        update={"stages": [*rows, last.model_copy(update={"left_aside": True})]}
    )
    assert (report.final.name, aside.final.name) == ("quantize", "distill")
    assert sentence(aside) == sentence(report.model_copy(update={"stages": rows}))


def gate(**values):
    given = {"name": "quality.value", "limit": 0.85, "value": 0.86, "passed": True, "row": "prune"}
    return GateResult.model_validate({**given, "bound": "at_least", **values})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (gate(), ("quality.value of prune", "0.86", "at least 0.85", "passed")),
        (
            gate(ci95=(0.84, 0.88), passed=False),
            (
                "quality.value of prune",
                "0.86 (0.84 to 0.88)",
                "at least 0.85, by the interval's end",
                "failed",
            ),
        ),
        (
            gate(
                name="size_bytes", limit=2e6, value=3e6, bound="at_most", passed=False, then="warn"
            ),
            ("size_bytes of prune", "3.00 MB", "at most 2.00 MB", "warning"),
        ),
        (
            gate(name="params", limit=10, value=22_700_000, passed=False, then="roll_back"),
            ("params of prune", "22,700,000", "at least 10", "rolled back"),
        ),
    ],
)
def test_a_limit_is_told_with_its_row_and_its_unit(found, said):
    report = make_report().model_copy(update={"gates": [found]})
    assert tables.gates(report).rows == [list(said)]
    assert (said[-1] if found.passed else said[-1].upper()) in render(report)
