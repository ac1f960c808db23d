import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from compress.core.notes import careful
from compress.measurement.results import (
    Baseline,
    Difference,
    Evaluation,
    Generation,
    InRuntime,
    Latency,
    Quality,
    Rate,
    Speedup,
)
from compress.report import words
from compress.report.document import GateResult, Report, read_report, write_report
from compress.report.headline import sentence
from compress.report.html import html
from compress.report.markdown import MOST, markdown
from compress.report.terminal import WIDTH, render, show
from tests.report.samples import make_row

TABLE = """\
sections: a gate failed
From 91.0 MB to 30.3 MB (3.00x smaller), 3.00x as fast at batch 1 and 3.00x at batch 32, with
accuracy from 0.8615 to 0.8555.

                                   accuracy        batch 1          batch 32
 stage     params   MACs     size  difference      speedup          speedup               time
 ─────────────────────────────────────────────────────────────────────────────────────────────
 original  22.7 M  362 M  91.0 MB  0.8615 ±0.0100  18.2 ms          502 ms               0.0 s
 distill   11.3 M  181 M  45.5 MB  0.8585 ±0.0100  9.10 ms          251 ms           12 m 34 s
           -50.0%          -50.0%  -0.0030         2.00x 1.96-2.04  2.00x 1.96-2.04
 quantize  7.57 M  121 M  30.3 MB  0.8555 ±0.0100  6.07 ms          167 ms           25 m 08 s
           -66.7%          -66.7%  -0.0060         3.00x 2.94-3.06  3.00x 2.94-3.06

  FAILED  accuracy drop 0.0060 (at most 0.005)
  passed  speedup 3.00x (at least 2x)

careful: distill: a warning on distill
2 notes: in report.html, with pictures.

Measured on Xeon, avx2 avx512_vnni, 1 thread, onnxruntime 1.32.0, torch 2.13.0.
"""


def with_rows(report: Report, *names: str, **changes: object) -> Report:
    rows = [make_row(index, name) for index, name in enumerate(names)]
    return report.model_copy(update={"stages": rows, **changes})


def test_the_table_at_100_columns(report):
    assert render(report) == TABLE


def test_long_names_and_big_models_still_fit(report):
    row = make_row(
        2,
        "a-very-long-name-of-a-stage",
        params=999_900_000,
        macs=999_900_000_000,
        size_bytes=999_900_000,
        seconds=359_000,
        speedup={"1": {"vs_original": 12.34, "ci95": (12.11, 12.55), "vs_previous": 1.0}},
    )
    big = report.model_copy(update={"stages": [report.stages[0], row]})
    lines = render(big).splitlines()
    assert max(len(line) for line in lines) <= WIDTH
    assert "1.00 T" in render(big)
    assert "12.3x 12.1-12.6" in render(big)


def test_more_batch_sizes_get_a_table_of_their_own(report):
    latency = {str(size): Latency(p50=size, p95=size) for size in (1, 2, 4, 8, 16, 32, 64)}
    rows = [row.model_copy(update={"latency_ms": latency}) for row in report.stages]
    text = render(report.model_copy(update={"stages": rows}))
    assert all(f"batch {size}" in text for size in latency)
    assert max(len(line) for line in text.splitlines()) <= WIDTH


def test_colours_only_on_a_terminal(report):
    assert "\x1b" not in render(report)
    file = io.StringIO()
    show(report, Console(file=file, force_terminal=True, width=WIDTH, color_system="standard"))
    assert "\x1b" in file.getvalue()


def test_an_ascii_terminal_gets_ascii_lines(report):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    show(report, Console(file=file, width=WIDTH))
    file.flush()
    assert b"-----" in file.buffer.getvalue()


def test_a_report_before_its_first_row(report):
    empty = Report(name="a", status="running", environment={})
    assert render(empty) == "a: still running\n"
    assert "# a" in markdown(empty)


def test_rows_are_compared_with_the_reference_only(report):
    trained = report.model_copy(
        update={
            "reference": 1,
            "stages": [
                make_row(0, "original"),
                make_row(1, "train"),
                make_row(2, "prune"),
            ],
        }
    )
    assert render(trained).count("-66.7%") == 2
    assert "-50.0%" not in render(trained)
    assert "1.00x" not in render(trained)
    assert "against `train`" in markdown(trained)


def test_a_slower_result_stands_in_the_first_lines(report):
    """Of what a stage chose; a slow candidate that wasn't chosen is none."""
    speedup = {"1": Speedup(0.75, (0.74, 0.76)), "32": Speedup(1.2, (1.1, 1.3))}
    slow = Evaluation(
        name="static",
        quality=Quality("accuracy", 0.9, (0.8, 1.0), 10),
        loss=0.0,
        fits=True,
        chosen=True,
        latency_ms={"1": Latency(1, 1), "32": Latency(1, 1)},
        speedup=speedup,
        size_bytes=1,
    )
    quantized = report.stages[-1].model_copy(update={"candidates": [slow]})
    slower = report.model_copy(update={"stages": [*report.stages[:-1], quantized]})
    said = "quantize is SLOWER than the model before it: 0.75x at batch 1."
    assert render(slower).splitlines()[1] == said
    assert markdown(slower).split("\n\n")[2] == f"**{said}**"
    assert f'<p class="alert">{said}</p>' in html(slower)
    others = quantized.model_copy(update={"candidates": [replace(slow, chosen=False)]})
    assert "SLOWER" not in render(slower.model_copy(update={"stages": [others]}))


@pytest.mark.parametrize(
    ("value", "upper", "said"),
    [
        (0.8, 0.82, ["quantize is SLOWER than the model before it: 0.80x at batch 1."]),
        (0.8, 1.1, []),  # its interval holds 1
        (0.98, 0.99, []),  # two sessions of one file can differ so much
    ],
)
def test_the_ledger_too_tells_what_is_slower(report, value, upper, said):
    fast = Evaluation(
        name="static",
        quality=Quality("accuracy", 0.9, (0.8, 1.0), 10),
        loss=0.0,
        fits=True,
        chosen=True,
        latency_ms={"1": Latency(1, 1)},
        speedup={"1": Speedup(1.2, (1.1, 1.3))},
        size_bytes=1,
    )
    step = Speedup(2.0, (1.9, 2.1), vs_previous=value, previous_ci95=(0.7, upper))
    rows = [
        row.model_copy(update={"candidates": [fast], "speedup": {"1": step}})
        for row in report.stages[-1:]
    ]
    assert words.headlines(report.model_copy(update={"stages": rows})) == said


def test_markdown_holds_ledger_gates_notes_and_environment(report):
    text = markdown(report)
    assert (
        "| quantize | 7.57 M | 121 M | 30.3 MB | 0.8555 ±0.0100 | -0.0060 | 6.07 ms | "
        "3.00x 2.94-3.06 | 167 ms | 3.00x 2.94-3.06 | 25 m 08 s | 1.23 GB |"
    ) in text
    assert "| accuracy drop | 0.0060 | at most 0.005 | **failed** |" in text
    assert "## Careful\n\n- distill: a warning on distill" in text
    assert "**quantize**\n\n- a note on quantize" in text
    assert "- flags: avx2, avx512_vnni" in text
    assert "- compress 0.1.0, recipe abababababab" in text


def test_markdown_tables_survive_odd_notes(report):
    odd = report.model_copy(update={"notes": ["a | b\nc <script>"]})
    assert "- a \\| b c &lt;script>" in markdown(odd)


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (words.count, 999, "999"),
        (words.count, 999_499, "999 K"),
        (words.count, 999_500, "1.00 M"),
        (words.count, 9_995_000, "10.0 M"),
        (words.size, 91_000_000, "91.0 MB"),
        (words.size, None, "-"),
        (words.times, 9.994, "9.99x"),
        (words.times, 9.996, "10.0x"),
        (words.times, 0.61, "0.61x"),
        (words.percent, -0.746, "-74.6%"),
        (words.duration, 99.94, "99.9 s"),
        (words.duration, 99.96, "1 m 40 s"),
        (words.duration, 3599.6, "1 h 00 m"),
    ],
)
def test_numbers_in_words(function, value, text):
    assert function(value) == text


@given(st.integers(min_value=1, max_value=10**14))
def test_a_count_keeps_three_digits(number):
    text, _, unit = words.count(number).partition(" ")
    scale = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}[unit]
    assert float(text) * scale == pytest.approx(number, rel=0.0051)
    assert len(text) <= 5 or number >= 10**15


@pytest.mark.parametrize(
    ("value", "text", "change"),
    [(9.123, "9.12 ±0.50", "+0.35"), (123.4, "123.4 ±0.5", "+0.3"), (1234.5, "1234 ±0", "+0")],
)
def test_perplexity_is_a_number_of_which_less_is_better(report, value, text, change):
    low, high = value - 0.5, value + 0.5
    quality = Quality(
        metric="perplexity", value=value, ci95=(low, high), samples=9, higher_is_better=False
    )
    rows = [
        row.model_copy(
            update={
                "quality": quality,
                "delta": row.delta and row.delta.model_copy(update={"quality": 0.35}),
            }
        )
        for row in report.stages
    ]
    gate = GateResult(name="perplexity_ratio", limit=1.1, value=1.234, passed=False)
    changed = report.model_copy(update={"stages": rows, "gates": [gate]})
    for shown in (render(changed), markdown(changed)):
        assert text in shown
        assert change in shown
        assert "Less perplexity is better." in shown
        assert "perplexity ratio" in shown
        assert "1.234x" in shown
        assert "%" not in shown.split("Less")[0].split(text)[1].splitlines()[0]
    assert words.value(quality) == text.split()[0]
    assert "is better" not in render(report)


def in_openvino(*, reference: bool) -> dict[str, InRuntime]:
    own = Speedup(1.0) if reference else Speedup(2.5, (2.4, 2.6))
    latency = {batch: Latency(p50=10.0, p95=11.0) for batch in ("1", "32")}
    return {
        "openvino": InRuntime(
            latency_ms=latency,
            speedup=dict.fromkeys(("1", "32"), own),
            speedup_vs_onnxruntime=dict.fromkeys(("1", "32"), Speedup(4.5, (4.4, 4.6))),
            agreement=0.984375,
            max_difference=0.01,
        )
    }


@pytest.fixture
def in_two_runtimes():
    rows = [
        make_row(0, "original", runtimes=in_openvino(reference=True)),
        make_row(1, "prune"),
        make_row(2, "quantize", runtimes=in_openvino(reference=False)),
    ]
    versions = {"onnxruntime": "1.32.0", "openvino": "2026.4.1"}
    return Report(
        name="two", status="passed", stages=rows, environment={"cpu": "Xeon", "versions": versions}
    )


def test_speeds_in_another_runtime_have_a_table_of_their_own(in_two_runtimes):
    text = render(in_two_runtimes)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "In OpenVINO:" in text
    table = text.split("In OpenVINO:")[1]
    lines = [line.split() for line in table.splitlines()]
    assert ["quantize", "10.0", "ms", "10.0", "ms", "98.4%"] in lines
    assert ["2.50x", "2.40-2.60"] * 2 in lines
    assert ["4.50x", "4.40-4.60"] * 2 in lines
    assert ["prune", "-", "-", "-"] in lines
    assert "onnxruntime 1.32.0, openvino 2026.4.1" in text


def test_a_page_holds_the_speeds_in_another_runtime(in_two_runtimes):
    written = markdown(in_two_runtimes)
    row = "| quantize | 10.0 ms | 2.50x 2.40-2.60 | 4.50x 4.40-4.60 |"
    assert "## In OpenVINO" in written
    assert row in written
    page = html(in_two_runtimes)
    assert ">In OpenVINO</h2>" in page
    assert "<span>4.50x 4.40-4.60</span></td>" in page


@pytest.mark.parametrize(
    ("speeds", "said"),
    [
        ((3.6, 4.5), "OpenVINO is the faster runtime at batch 1 (1.20x) and at batch 32 (1.50x)."),
        (
            (2.0, 4.5),
            "ONNX Runtime is the faster runtime at batch 1 (1.50x), OpenVINO is the faster runtime "
            "at batch 32 (1.50x).",
        ),
        (
            (3.05, 2.0),  # the first differs by less than noise
            "ONNX Runtime is the faster runtime at batch 32 (1.50x), its runtimes are equally fast "
            "at batch 1.",
        ),
    ],
)
def test_the_headline_says_which_runtime_is_faster(in_two_runtimes, speeds, said):
    """In ONNX Runtime the model is at 3.00x (2.94-3.06) of the original at both sizes."""
    *others, final = in_two_runtimes.stages
    found = {
        batch: Speedup(speed, (speed - 0.02, speed + 0.02))
        for batch, speed in zip(("1", "32"), speeds, strict=True)
    }
    measured = replace(final.runtimes["openvino"], speedup_vs_onnxruntime=found)
    final = final.model_copy(update={"runtimes": {"openvino": measured}})
    report = in_two_runtimes.model_copy(update={"stages": [*others, final]})
    assert sentence(report).endswith(f" {said}")
    assert said in " ".join(render(report).split())


def test_the_headline_names_no_runtime_where_one_was_timed(report):
    assert "runtime" not in sentence(report)


def test_a_report_with_two_runtimes_is_read_back(in_two_runtimes, tmp_path):
    write_report(in_two_runtimes, tmp_path)
    assert read_report(tmp_path) == in_two_runtimes


def generated(*, decoding: float, reference: bool) -> Generation:
    own = Speedup(1.0) if reference else Speedup(2.5, (2.4, 2.6))
    return Generation(
        prompt=64,
        answer=32,
        cached=True,
        prefill=Rate(1234.5, Latency(51.8, 60.0), own),
        decoding=Rate(decoding, Latency(1000 / decoding, 1200 / decoding), own),
    )


@pytest.fixture
def of_generation():
    rows = [
        make_row(0, "original", generation=generated(decoding=62.3, reference=True)),
        make_row(1, "prune"),
        make_row(2, "quantize", generation=generated(decoding=155.1, reference=False)),
    ]
    return Report(name="texts", status="passed", stages=rows)


def test_tokens_a_second_have_a_table_of_their_own(of_generation):
    title = "Generation: a prompt of 64 tokens, an answer of 32"
    text = render(of_generation)
    assert max(map(len, text.splitlines())) <= WIDTH
    lines = [line.split() for line in text.split(f"{title}:")[1].splitlines()]
    speed = ["2.50x", "2.40-2.60"]
    assert ["original", "1,234", "tokens/s", "-", "62.3", "tokens/s", "-", "yes"] in lines
    assert ["prune", *"-----"] in lines
    assert ["quantize", "1,234", "tokens/s", *speed, "155", "tokens/s", *speed, "yes"] in lines
    for page in (markdown(of_generation), html(of_generation)):
        assert title in page
        assert "62.3 tokens/s" in page
        assert words.BELOW_GENERATION in page.replace("&#39;", "'")


def test_a_result_that_decodes_more_slowly_is_called_so_in_the_headline(of_generation):
    quality = Quality("perplexity", 20.0, (19.0, 21.0), 100, False)
    slow = Evaluation(
        name="4-bit weights",
        quality=quality,
        loss=0.0,
        fits=True,
        chosen=True,
        latency_ms={"prefill": Latency(1, 1), "decoding": Latency(1, 1)},
        speedup={"prefill": Speedup(1.2, (1.1, 1.3)), "decoding": Speedup(0.8, (0.7, 0.9))},
        size_bytes=1,
    )
    row = of_generation.stages[-1].model_copy(update={"candidates": [slow]})
    report = of_generation.model_copy(update={"stages": [*of_generation.stages[:-1], row]})
    said = "quantize is SLOWER than the model before it: 0.80x in decoding."
    assert words.headlines(report) == [said]
    assert said in render(report)


def test_markdown_fits_a_pull_request_whatever_was_noted(report):
    rows = list(report.stages)
    rows[1] = rows[1].model_copy(update={"notes": [careful("hot"), *["a long note " * 100] * 100]})
    text = markdown(report.model_copy(update={"stages": rows}))
    assert len(text) <= MOST
    assert "- distill: hot" in text
    assert "Too long for this page, and in report.html: Notes." in text
    assert "<details><summary>Environment</summary>" in text
    assert "in report.html" not in markdown(report)


DIFFERENCE = Difference(
    change=-0.012,
    ci95=(-0.02, -0.004),
    p_value=0.004,
    test="mcnemar",
    verdict="worse",
    smallest=0.007,
    samples=4000,
    agreement=0.95,
)


def test_a_difference_stands_in_every_view_with_its_verdict(report):
    rows = [row.model_copy(update={"vs_reference": DIFFERENCE}) for row in report.stages]
    judged = report.model_copy(update={"stages": [report.stages[0], *rows[1:]]})
    assert "-0.0030 worse" in render(judged)
    assert "-0.0120 (-0.0200 to -0.0040) worse" in markdown(judged)
    assert "-0.0120 (-0.0200 to -0.0040) <small>worse</small>" in html(judged)
    assert max(map(len, render(judged).splitlines())) <= WIDTH


def test_the_headline_says_the_cost_and_for_whom_it_is_not_worth_it(report):
    slow = Speedup(0.8, (0.78, 0.82))
    final = report.stages[2].model_copy(
        update={
            "vs_reference": DIFFERENCE,
            "speedup": {"1": Speedup(3.0, (2.9, 3.1)), "32": slow},
        }
    )
    verdict = replace(DIFFERENCE, verdict="better")
    rival = Baseline(
        "tf-idf + linear SVM",
        replace(final.quality, value=0.8812),
        3_000_000,
        0.4,
        9.0,
        "scikit-learn",
        verdict=verdict,
    )
    whole = report.model_copy(update={"stages": [*report.stages[:2], final], "baseline": rival})
    assert sentence(whole) == (
        "From 91.0 MB to 30.3 MB (3.00x smaller), 3.00x as fast at batch 1 and 0.80x at batch 32, "
        "at the cost of accuracy from 0.8615 to 0.8555 (-0.0120, 95 % interval -0.0200 to "
        "-0.0040); it isn't worth it for calls at batch 32, which are slower (0.80x), where 0.0120 "
        "of accuracy matters or where a linear model will do (tf-idf + linear SVM: 0.8812 in "
        "3.00 MB)."
    )
    assert sentence(report.model_copy(update={"stages": report.stages[:1]})) == ""


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("better", "with better accuracy from"),
        ("no difference seen", ": no difference seen."),
        ("too few samples to tell", ": too few samples to tell."),
    ],
)
def test_the_headline_claims_no_more_than_the_verdict(report, verdict, said):
    found = replace(DIFFERENCE, verdict=verdict)
    final = report.stages[2].model_copy(update={"vs_reference": found})
    text = sentence(report.model_copy(update={"stages": [*report.stages[:2], final]}))
    assert said in text
    assert "at the cost of" not in text
    assert "isn't worth it" not in text


def test_no_drop_is_zero_without_a_sign():
    drop = GateResult(name="accuracy_drop", limit=0.1, value=-1e-9, passed=True)
    assert words.gate(drop) == ("accuracy drop", "0.0000", "at most 0.1")
