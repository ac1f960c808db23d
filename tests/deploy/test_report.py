"""report.html in Chromium: on a phone, a tablet and a desk, in light and dark, and as PDF."""

import base64
import io

import pytest
from PIL import Image

from compress.measurement.results import Baseline, Difference, Latency
from compress.report.document import Report
from compress.report.html import html
from compress.report.kept.answers import Confusion, Disagreement, Disagreements
from compress.report.kept.insides import (
    EpochScore,
    GroupCurve,
    LossPoint,
    Sensitivity,
    Training,
)
from tests.deploy.places import PLACE, browser, node, run_script
from tests.report.samples import make_report

WIDTHS = [360, 800, 1400]


def whole_report() -> Report:
    """A report that has every section."""
    plain = make_report()
    found = Difference(-0.01, (-0.02, -0.001), 0.03, "mcnemar", "worse", 0.008, 4000, 0.95)
    spread = tuple(5 + 0.1 * step for step in range(21))
    row = plain.stages[2].model_copy(
        update={
            "vs_reference": found,
            "vs_previous": found,
            "latency_ms": {"1": Latency(6.0, 6.9, 7.0, spread), "32": Latency(167.0, 190.0)},
            "recall": {"cat": 0.8, "dog": 0.9},
            "widths": {"conv": 24},
            "noise": {"conv": 31.5, "fc": None},
            "training": Training(
                curve=[LossPoint(step=n, losses={"a": 1 / n, "b": 2 / n}) for n in range(1, 9)],
                epochs=[EpochScore(epoch=1, metric="accuracy", figures={"accuracy": 0.8})],
            ),
            "sensitivity": Sensitivity(
                metric="accuracy",
                baseline=0.9,
                samples=64,
                groups=[
                    GroupCurve(
                        name="conv",
                        kind="channels",
                        units=8,
                        ratios=[0, 0.5],
                        quality=[0.9, 0.7],
                        divergence=[0, 0.2],
                    )
                ],
            ),
        }
    )
    first = plain.stages[0].model_copy(
        update={"recall": {"cat": 0.9, "dog": 0.9}, "widths": {"conv": 32}}
    )
    picture = io.BytesIO()
    Image.new("L", (8, 8), 90).save(picture, "PNG")
    image = base64.b64encode(picture.getvalue()).decode()
    shown = [
        Disagreement(place=3, label="cat", reference="cat", final="dog", image=image),
        Disagreement(place=9, reference="dog", final="cat", text="a sample\nof two lines"),
    ]
    return plain.model_copy(
        update={
            "stages": [first, plain.stages[1], row],
            "baseline": Baseline("linear", first.quality, 2_000_000, 0.5, 3.0, "scikit-learn"),
            "confusion": Confusion(
                classes=["cat", "dog"],
                of=3,
                reference=[[9, 1, 0], [1, 9, 0]],
                final=[[8, 2, 0], [1, 9, 0]],
            ),
            "disagreements": Disagreements(count=2, of=4000, shown=shown),
            "recipe": {"name": "sections", "measure": {"rounds": 20}},
            "changed_keys": ["name"],
        }
    )


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory):
    """What Chromium saw of the page, in which every section is."""
    folder = tmp_path_factory.mktemp("report")
    page = folder / "report.html"
    page.write_text(html(whole_report()), encoding="utf-8")
    shots = PLACE / "screenshots"
    shots.mkdir(exist_ok=True)
    asked = {"page": str(page), "widths": WIDTHS, "shots": str(shots / "report")}
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("CHROMIUM", browser())
        return run_script(node(), "node/report.mjs", asked, folder)


def test_every_section_is_there():
    text = html(whole_report())
    for section in (
        *("warnings", "gates", "stages", "tradeoffs", "steps", "latency", "classes", "samples"),
        *("training", "widths", "sensitivity", "noise", "notes", "environment", "recipe"),
    ):
        assert f'<h2 id="{section}">' in text


def test_the_page_is_quiet_and_asks_for_nothing(looked_at):
    assert len(looked_at["seen"]) == 2 * len(WIDTHS)
    for seen in looked_at["seen"]:
        assert seen["said"] == []
        assert seen["asked"] == []


def test_the_page_fits_its_width(looked_at):
    assert [seen["overflow"] for seen in looked_at["seen"]] == [0] * 2 * len(WIDTHS)


def test_axe_finds_nothing_serious(looked_at):
    for seen in looked_at["seen"]:
        serious = [x for x in seen["faults"] if x.startswith(("serious", "critical"))]
        assert serious == [], (seen["width"], seen["scheme"])


def test_a_table_sorts_and_a_point_is_told_by_keyboard(looked_at):
    wide = [seen for seen in looked_at["seen"] if seen["width"] > 700]
    for seen in wide:
        names = [name.split()[0] for name in seen["sorted"]]
        assert names == ["linear", "quantize", "distill", "original"]
    assert all(seen["told"].startswith("distill: accuracy") for seen in looked_at["seen"])


def test_the_page_prints(looked_at):
    assert looked_at["pdf"] > 20_000
