"""A report as a table."""

from xml.etree import ElementTree

import pandas as pd
import pytest

from compress.measurement.results import Difference
from tests.report.samples import make_report, make_row


def test_each_model_is_a_row_with_its_figures():
    table = make_report().to_frame()
    assert isinstance(table, pd.DataFrame)
    assert list(table["name"]) == ["original", "distill", "quantize"]
    last = table.set_index("name").loc["quantize"]
    assert last["quality"] == pytest.approx(0.8555)
    assert last["quality_low"] < last["quality"] < last["quality_high"]
    assert last["speedup_1"] == pytest.approx(3)
    assert last["speedup_32_high"] == pytest.approx(3.06)
    assert last["p50_ms_32"] == pytest.approx(502.4 / 3)
    assert pd.isna(table["speedup_1_low"][0])


def test_a_tested_difference_has_its_columns():
    found = Difference(
        change=-0.01, ci95=(-0.02, -0.002), p_value=0.01, test="mcnemar", verdict="worse",
        smallest=0.008, samples=4000, agreement=0.95,
    )  # fmt: skip
    report = make_report().model_copy(
        update={"stages": [make_row(0, "original"), make_row(1, "prune", vs_reference=found)]}
    )
    row = report.to_frame().iloc[1]
    assert (row["vs_reference_change"], row["vs_reference_low"]) == (-0.01, -0.02)
    assert row["vs_reference_verdict"] == "worse"
    assert row["vs_previous_verdict"] is None or pd.isna(row["vs_previous_verdict"])


def test_a_notebook_shows_how_the_run_ended_and_a_row_for_each_model():
    shown = make_report()._repr_html_()
    assert shown.startswith("<p>sections: gate failed</p>")
    table = ElementTree.fromstring(shown.partition("</p>")[2])  # noqa: S314 (made here)
    header, *rows = [[cell.text for cell in row] for row in table.iter("tr")]
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    assert columns["stage"] == ("original", "distill", "quantize")
    assert columns["MB"] == ("91", "45.5", "30.33")
    assert columns["accuracy"][0] == "0.8615"
    assert columns["speedup at 32"] == ("1", "2", "3")


def test_a_notebook_shows_names_from_strangers_as_text():
    strange = make_report().model_copy(update={"name": "<script>", "error": "<b>no</b>"})
    shown = strange._repr_html_()
    assert "<script" not in shown
    assert "<p>&lt;b&gt;no&lt;/b&gt;</p>" in shown
