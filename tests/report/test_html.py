import base64
import hashlib
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compress.measurement.results import Baseline, Evaluation, Latency, Quality, Speedup
from compress.report import tables
from compress.report.document import Report
from compress.report.html import html
from compress.report.kept.stage_files import read_insides
from compress.report.pictures.axes import axis_over
from compress.report.pictures.courses import sensitivity, training
from compress.report.pictures.lanes import quality_waterfall, speed_waterfalls, spreads
from compress.report.pictures.layout import Frame, Point, Series, draw
from compress.report.pictures.tradeoff import front, tradeoffs
from tests.report.samples import make_report, make_row

EVIL = "<script>alert('&')</script>"
VOID = {"meta", "br", "img"}
LEAF = {"line", "circle", "polyline", "rect"}


class Page(HTMLParser):
    """Counts elements, collects text, and holds that every element ends where it should."""

    def __init__(self, text):
        super().__init__()
        self.open, self.counts, self.text = [], {}, []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        for name, value in attrs:
            assert not name.startswith("on")
            if name == "href":
                assert value.startswith("#")
            if name == "src":
                assert value.startswith("data:image/png;base64,")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in LEAF
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def history(epochs=3, parts=("response", "labels"), **changes):
    figures = [{"accuracy": 0.5 + 0.1 * e, "loss": 1 / e} for e in range(1, epochs + 1)]
    return {
        "schema": 2,
        "epochs": [
            {"epoch": e, "validation": {"metric": "accuracy", "figures": own}}
            for e, own in enumerate(figures, start=1)
        ],
        "curve": [
            {"step": 10 * s, "losses": dict.fromkeys(parts, 1 / s), "learning_rate": 0.1}
            for s in range(1, 20)
        ],
    } | changes


def curves(groups=3, kinds=("heads", "feed_forward")):
    ratios = [0.0, 0.25, 0.5]
    return {
        "schema": 1,
        "metric": "accuracy",
        "baseline": 0.9,
        "samples": 128,
        "groups": [
            {
                "name": f"layer.{number}.{kind}",
                "kind": kind,
                "units": 12,
                "ratios": ratios,
                "quality": [0.9 - number * ratio / 100 for ratio in ratios],
                "divergence": ratios,
            }
            for number in range(groups)
            for kind in kinds
        ],
    }


def left(tmp_path, **files):
    """What is read of a stage's folder with these files."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
    return read_insides(tmp_path)


def with_files(tmp_path, report, **files):
    """A report whose second row has what a stage left in these files."""
    found, notes = left(tmp_path, **files)
    assert notes == []
    rows = list(report.stages)
    rows[1] = rows[1].model_copy(update=found)
    return report.model_copy(update={"stages": rows})


def test_the_page_holds_what_the_other_reports_say(report):
    text = html(report)
    page = Page(text)
    for table in (tables.gates(report), tables.environment(report)):
        assert " ".join(table.head) in page.words
        for row in table.rows:
            assert " ".join(row) in page.words
    for row in tables.stages(report).rows:
        for cell in row:
            assert cell in page.words
    assert "a gate failed" in page.words
    assert "Careful distill: a warning on distill" in page.words
    assert "a note on quantize" in page.words
    assert "Differences and speedups are against original." in page.words
    assert "From 91.0 MB to 30.3 MB (3.00x smaller), 3.00x as fast at batch 1" in page.words
    assert page.counts["svg"] == 3 + 3
    assert text.startswith("<!DOCTYPE html>")


def test_the_contents_name_every_section(report, tmp_path):
    found = with_files(tmp_path, report, training=history(), sensitivity=curves())
    for text in (html(report), html(found), html(Report(name="a", status="running"))):
        sections = re.findall(r'<h2 id="([a-z0-9-]+)">', text)
        assert re.findall(r'<a href="#([a-z0-9-]+)">', text) == sections
        assert len(set(sections)) == len(sections) >= 1


def test_the_page_needs_nothing_from_elsewhere(report, tmp_path):
    text = html(with_files(tmp_path, report, training=history(), sensitivity=curves()))
    page = Page(text)
    assert "default-src 'none'" in text
    assert not {"link", "iframe", "object"} & page.counts.keys()
    assert not re.search(r"https?:|url\(|@import", text)
    assert len(text) < 200_000


def test_the_page_allows_no_other_script_than_its_own(report):
    text = html(report)
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "innerHTML" not in script


def test_everything_is_escaped(report, tmp_path):
    rows = [make_row(0, "original"), make_row(1, EVIL, notes=[EVIL])]
    odd = report.model_copy(
        update={"name": EVIL, "stages": rows, "notes": [EVIL], "environment": {"cpu": EVIL}}
    )
    measured = curves(kinds=(EVIL,))
    odd = with_files(tmp_path, odd, training=history(parts=(EVIL, "b")), sensitivity=measured)
    text = html(odd)
    assert EVIL not in text
    page = Page(text)
    assert page.counts["script"] == 1
    assert page.words.count(EVIL) >= 8


def test_trainings_and_sensitivity_are_drawn(report, tmp_path):
    text = html(with_files(tmp_path, report, training=history(), sensitivity=curves(groups=40)))
    page = Page(text)
    assert page.counts["svg"] == 3 + 3 + 3 + 80
    assert "distill, heads: accuracy against the fraction removed of one group" in page.words
    assert "0.5 removed: accuracy 0.705, divergence 0.5" in page.words
    assert "validation accuracy" in page.words
    assert "epoch 3: accuracy 0.8" in page.words
    assert len(text) < 500_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "JSONDecodeError"),
        ({"schema": 1}, "of schema 1, not 2"),
        ({"schema": 2, "epochs": []}, "KeyError: 'curve'"),
        ([], "TypeError"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, said):
    found, notes = left(tmp_path, training=content, noise={"schema": 1, "decibels": {"a": None}})
    assert list(found) == ["noise"]
    assert found["noise"] == {"a": None}
    [note] = notes
    assert note.startswith("careful: training.json isn't shown")
    assert said in note


def test_a_report_before_its_first_row():
    page = Page(html(Report(name="a", status="running", environment={})))
    assert "still running" in page.words
    assert "svg" not in page.counts


def test_only_what_is_compared_is_drawn():
    report = make_report()
    trained = report.model_copy(update={"reference": 1})
    for picture in tradeoffs(trained):
        assert [mark.text.split(":")[0] for mark in picture.marks] == ["distill", "quantize"]
    assert tradeoffs(report.model_copy(update={"reference": 2})) == []
    speed, _, size = tradeoffs(report)
    assert speed.title == "accuracy against time of a call at batch 1"
    assert all(mark.up is not None and mark.up[0] > mark.y > mark.up[1] for mark in size.marks)
    assert "30.3 MB" in size.marks[2].text


def test_models_that_are_alike_share_a_label(report):
    rows = [*report.stages, make_row(2, "export")]
    for picture in tradeoffs(report.model_copy(update={"stages": rows})):
        assert [text for *_, text in picture.labels] == ["original", "distill", "quantize, export"]


def test_candidates_and_the_baseline_are_drawn_too(report):
    tried = [
        Evaluation(
            name=name,
            quality=report.stages[0].quality,
            loss=0.002,
            fits=True,
            chosen=chosen,
            latency_ms={"1": Latency(3, 3)},
            speedup={"1": Speedup(2.0)},
            size_bytes=10_000_000,
        )
        for name, chosen in (("float", False), ("static", False), ("dynamic", True))
    ]
    rows = list(report.stages)
    rows[2] = rows[2].model_copy(update={"candidates": tried})
    rival = Baseline("linear", rows[0].quality, 2_000_000, 0.5, 3.0, "scikit-learn 1.9")
    whole = report.model_copy(update={"stages": rows, "baseline": rival})
    at_one, at_32, size = tradeoffs(whole)
    assert [mark.shape for mark in at_one.marks] == ["dot"] * 3 + ["ring", "square"]
    assert [mark.shape for mark in at_32.marks] == ["dot"] * 3
    assert "quantize: static" in size.marks[3].text
    # Of 'distill', which the stage was given: 0.8585 less 0.002, and half of 9.10 ms.
    assert "accuracy 0.8565 by its loss on validation samples" in size.marks[3].text
    assert "4.55 ms at batch 1" in size.marks[3].text
    assert [name for name, _ in size.legend] == ["stages", "candidates", "baseline", "Pareto front"]


def test_candidates_stand_beside_the_row_that_no_gate_left_aside(report):
    tried = Evaluation(
        name="static",
        quality=report.stages[0].quality,
        loss=0.0,
        fits=True,
        chosen=False,
        latency_ms={},
        speedup={},
        size_bytes=10_000_000,
    )
    aside = make_row(1, "distill", left_aside=True)
    last = make_row(2, "quantize", candidates=[tried])
    rows = [report.stages[0], aside, last]
    *_, size = tradeoffs(report.model_copy(update={"stages": rows}))
    texts = [mark.text for mark in size.marks]
    assert [text for text in texts if text.startswith("distill (left aside): accuracy 0.8585")]
    assert [text for text in texts if text.startswith("quantize: static: accuracy 0.8615")]
    named = [name for name, _ in size.legend]
    assert named == ["stages", "left aside", "candidates", "Pareto front"]


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_front_holds_the_points_that_no_other_beats(points):
    found = front(points)
    for place, (cost, value) in enumerate(points):
        beaten = any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)
        assert (points[place] in [points[i] for i in found]) == (not beaten)
    less = front([(cost, -value) for cost, value in points], higher_is_better=False)
    assert less == found


def test_waterfalls_go_from_stage_to_stage(report):
    quality, speed = quality_waterfall(report), speed_waterfalls(report)[0]
    assert [lane.name for lane in quality.lanes] == ["original", "distill", "quantize"]
    assert [lane.tone for lane in quality.lanes] == ["plain", "bad", "bad"]
    assert [lane.tone for lane in speed.lanes] == ["plain", "good", "good"]
    assert quality.lanes[1].bar[1] == pytest.approx(quality.lanes[0].tick)
    assert speed.lanes[2].bar[0] == pytest.approx(speed.lanes[1].tick)
    assert "3.00x 2.94-3.06 as fast as original; 1.50x" in speed.lanes[2].text
    for lane in (*quality.lanes, *speed.lanes):
        for ends in (lane.bar, lane.whisker):
            assert ends is None or quality.left <= ends[0] <= ends[1] <= quality.right
    assert quality_waterfall(report.model_copy(update={"reference": 2})) is None


def test_spreads_are_of_the_quantiles_that_were_kept(report):
    assert spreads(report) == []
    steps = tuple(float(10 + step) for step in range(21))
    latency = {"1": Latency(p50=20, p95=29, quantiles=steps)}
    rows = [report.stages[0].model_copy(update={"latency_ms": latency}), *report.stages[1:]]
    [picture] = spreads(report.model_copy(update={"stages": rows}))
    [lane] = picture.lanes
    assert "half of the calls between 15 and 25, 95 % below 29 ms" in lane.text
    assert lane.whisker[0] < lane.bar[0] < lane.tick < lane.bar[1] < lane.whisker[1]


def test_less_perplexity_is_said_to_be_better(report):
    quality = Quality(
        metric="perplexity", value=20, ci95=(19, 21), samples=9, higher_is_better=False
    )
    rows = [row.model_copy(update={"quality": quality}) for row in report.stages]
    [first, *_] = tradeoffs(report.model_copy(update={"stages": rows}))
    assert first.y_name == "perplexity (less is better)"


def test_losses_that_are_not_numbers_break_their_line(tmp_path):
    document = history()
    document["curve"][5]["losses"]["labels"] = math.nan
    found, _ = left(tmp_path, training=document)
    loss = training(found["training"])[0]
    assert loss.left_out == 1
    assert [colour for colour, *_ in loss.lines] == [0, 1, 1]
    assert loss.legend == [("response", "line"), ("labels", "line")]


def test_groups_of_a_kind_share_one_scale(tmp_path):
    found, _ = left(tmp_path, sensitivity=curves(groups=5))
    heads, neurons = sensitivity(found["sensitivity"])
    for part in (heads, neurons):
        scales = {tuple((tick.place, tick.text) for tick in p.y_ticks) for p in part.pictures}
        assert len(scales) == 1
        assert [p.title for p in part.pictures][4].startswith("layer.4.")
    first, last = heads.pictures[0].marks, heads.pictures[4].marks
    assert first[-1].y < last[-1].y


numbers = st.floats(-1e9, 1e9)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30), st.booleans())
def test_every_point_is_inside_its_frame(pairs, logarithmic):
    frame = Frame(logarithmic=logarithmic, logarithmic_x=logarithmic, guide=pairs[0][1])
    points = [Point(x, y, y_range=(y - 1, y + 1), label="a") for x, y in pairs]
    picture = draw("a", [Series("b", points)], x_name="x", y_name="y", frame=frame)
    assert len(picture.marks) == len(pairs)
    for mark in picture.marks:
        assert picture.left <= mark.x <= picture.right
        assert picture.top <= mark.up[1] <= mark.y <= mark.up[0] <= picture.bottom
    assert sum(len(text.split(",")) for *_, text in picture.labels) == len(pairs)


@given(
    low=st.floats(1e-6, 1e9),
    factor=st.floats(1.001, 1e6),
    most=st.integers(2, 8),
    logarithmic=st.booleans(),
)
@example(low=1e6, factor=1.001, most=5, logarithmic=False)
def test_ticks_are_few_round_and_inside(low, factor, most, logarithmic):
    axis = axis_over([low, low * factor], start=0, end=100, logarithmic=logarithmic)
    ticks = axis.ticks(most=most)
    assert 1 <= len(ticks) <= 2 * most + 1
    assert len({tick.text for tick in ticks}) == len(ticks)
    assert all(-1e-6 <= tick.place <= 100 + 1e-6 for tick in ticks)
    for tick in ticks:
        step = axis.place(float(tick.text)) - tick.place
        assert abs(step) < 0.51 * (ticks[1].place - ticks[0].place if len(ticks) > 1 else 100)


def test_whole_numbers_get_whole_ticks():
    ticks = axis_over([1, 2], start=0, end=100, whole=True).ticks()
    assert [tick.text for tick in ticks] == ["1", "2"]
    assert [t.text for t in axis_over([-0.2, 0.2], start=0, end=1).ticks()] == [
        "-0.2",
        "-0.1",
        "0.0",
        "0.1",
        "0.2",
    ]


def test_the_template_engine_is_imported_only_to_write_a_report():
    script = "import sys, compress.cli, compress.report.html\nprint('jinja2' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
