"""Formats numbers for readers: three significant digits, and a unit."""

from __future__ import annotations

from collections.abc import Mapping

from compress.measurement.results import (
    Difference,
    Generation,
    Latency,
    Quality,
    Speedup,
    at,
    slower,
)
from compress.measurement.runtimes.names import WORDS
from compress.report.document import GateResult, Report, Row

NONE = "-"
"""Shown if nothing was measured."""


def count(number: int | None) -> str:
    """Return a number such as "22.7 M"."""
    if number is None:
        return NONE
    return _scaled(number, ("", " K", " M", " G", " T"))


def size(number: int | None) -> str:
    """Return a number of bytes such as "91.0 MB" (decimal)."""
    if number is None:
        return NONE
    return _scaled(number, (" B", " KB", " MB", " GB", " TB"))


def _scaled(number: int, units: tuple[str, ...]) -> str:
    value, unit = float(number), 0
    while abs(value) >= 999.5 and unit < len(units) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{digits}f}{units[unit]}"


def milliseconds(latency: Latency | None) -> str:
    """Return the median, such as "18.2 ms"."""
    if latency is None:
        return NONE
    value = latency.p50
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2 if value >= 0.9995 else 3
    return f"{value:.{digits}f} ms"


def times(ratio: float | None) -> str:
    """Return a ratio such as "7.12x"."""
    return NONE if ratio is None else f"{_ratio(ratio)}x"


def speedup(found: Speedup | None) -> str:
    """Return a speedup with its interval, such as "7.12x 7.05-7.19"."""
    if found is None:
        return NONE
    interval = "" if found.ci95 is None else f" {_ratio(found.ci95[0])}-{_ratio(found.ci95[1])}"
    return times(found.vs_original) + interval


def speedup_title(load: str) -> str:
    """Return the title of a column of speedups: "speedup at 1", or "decoding" of text."""
    return f"speedup at {load}" if load.isdigit() else load


def _ratio(value: float) -> str:
    return f"{value:.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


def quality(found: Quality) -> str:
    """Return a quality with half the width of its interval, such as "0.8615 ±0.0107"."""
    low, high = found.ci95
    digits = _digits(found)
    return f"{found.value:.{digits}f} ±{(high - low) / 2:.{digits}f}"


def value(found: Quality) -> str:
    """Return the value of the metric alone, such as "0.8615"."""
    return f"{found.value:.{_digits(found)}f}"


def difference(change: float | None, found: Quality) -> str:
    """Return an absolute difference of a metric with its sign, such as "-0.0035"."""
    return NONE if change is None else f"{change:+.{_digits(found)}f}"


def against(found: Difference | None, change: float, of: Quality) -> str:
    """Return a difference with its interval and verdict, or the change alone if it has none."""
    if found is None:
        return difference(change, of)
    low, high = (difference(end, of) for end in found.ci95)
    return f"{difference(found.change, of)} ({low} to {high}) {found.verdict}"


def _digits(found: Quality) -> int:
    """Return the number of useful decimals: four for a fraction, fewer for a number over 1."""
    if found.higher_is_better:
        return 4
    return 0 if found.value >= 999.5 else 1 if found.value >= 99.95 else 2


def percent(value: float | None) -> str:
    """Return a relative difference, such as "-74.6%"."""
    return NONE if value is None else f"{value * 100:+.1f}%"


def duration(seconds: float | None) -> str:
    """Return a duration such as "4.2 s", "2 m 05 s" or "3 h 10 m"."""
    if seconds is None:
        return NONE
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} m"


def batch_sizes(report: Report) -> list[str]:
    """Return the batch sizes for which any row has a latency, in the order of measuring."""
    return list(dict.fromkeys(batch for row in report.stages for batch in row.latency_ms))


def is_compared(report: Report, row: Row) -> bool:
    """Return whether a row comes after the reference, so that its differences are shown."""
    return row.index > report.reference


def gate(result: GateResult) -> tuple[str, str, str]:
    """Return the name, value and limit of a gate, in words."""
    if result.bound is not None:
        return _limit(result)
    name = result.name.replace("_", " ")
    if result.name == "accuracy_drop":
        return name, f"{result.value:z.4f}", f"at most {result.limit:g}"
    if result.name == "perplexity_ratio":
        return name, f"{result.value:.3f}x", f"at most {result.limit:g}x"
    return name, times(result.value), f"at least {result.limit:g}x"


def _limit(result: GateResult) -> tuple[str, str, str]:
    value = figure(result.name, result.value)
    if result.ci95 is not None:
        low, high = (figure(result.name, end) for end in result.ci95)
        value = f"{value} ({low} to {high})"
    side = "at least" if result.bound == "at_least" else "at most"
    sure = "" if result.ci95 is None else ", by the interval's end"
    limit = f"{side} {figure(result.name, result.limit)}{sure}"
    return f"{result.name} of {result.row}", value, limit


def figure(name: str, value: float) -> str:
    """Return the value of a figure of report.json, by its name: bytes with a unit, say."""
    if name.endswith("_bytes"):
        return size(round(value))
    return f"{value:,.0f}" if abs(value) >= 9999.5 else f"{value:.4g}"


def outcome(result: GateResult) -> str:
    """Return what became of a gate: passed, failed, rolled back, or a warning."""
    if result.passed:
        return "passed"
    return {"stop": "failed", "roll_back": "rolled back", "warn": "warning"}[result.then]


RIVALS = {"linear model": "a linear model", "word matching": "word matching"}
"""Kinds of baselines in a sentence."""
_VERDICTS = {
    "better": "is better than the reference",
    "no difference seen": "is as good as the reference",
    "too few samples to tell": "may be as good as the reference, by these samples",
    "worse": "is not as good as the reference",
}
"""What the sentence on a baseline says of it, by its verdict."""


def baseline(report: Report) -> str | None:
    """Return a sentence on the rival; None if there is none to compare with."""
    found = report.baseline
    if found is None or found.verdict is None or report.reference >= len(report.stages):
        return None
    reference, change = report.stages[report.reference], found.verdict
    low, high = (difference(end, found.quality) for end in change.ci95)
    kind = RIVALS[found.kind]
    return (
        f"{kind[0].upper()}{kind[1:]} {_VERDICTS[change.verdict]}: "
        f"{found.name} has {found.quality.metric} {value(found.quality)} against "
        f"{value(reference.quality)} of '{reference.name}' "
        f"({difference(change.change, found.quality)}, 95 % {low} to {high}, p "
        f"{_probability(change.p_value)}, {change.samples:,} test samples), in "
        f"{size(found.size_bytes)} and {found.call_ms:.2g} ms a call in {found.runtime}."
    )


def _probability(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"= {value:.2g}"


def headlines(report: Report) -> list[str]:
    """Return what a reader should know first: a rival that isn't worse, and slow models.

    The first sentence is that of `baseline`, unless the rival is worse than the reference. Then
    comes one for each quantized model that is slower than the model before it, unless the run left
    it aside: by the ledger, on test samples; or by the stage's own rounds, of the candidate that it
    chose.
    """
    found = []
    rival = baseline(report)
    if rival is not None and report.baseline and report.baseline.verdict:
        found += [] if report.baseline.verdict.verdict == "worse" else [rival]
    for row in report.stages:
        chosen = next((each for each in row.candidates if each.chosen), None)
        if chosen is None or row.left_aside:
            continue
        steps = slower_steps(row) if row.use == "quantize" else {}
        if parts := {**chosen.slower_at, **steps}:
            found.append(f"{row.name} is SLOWER than the model before it: {_paces(parts)}.")
    return found


def slower_steps(row: Row) -> dict[str, float]:
    """Return the speedups over the previous row that are below 1 by `SLOWER_BY`."""
    return {
        batch: found.vs_previous
        for batch, found in row.speedup.items()
        if found.vs_previous is not None
        and found.previous_ci95 is not None
        and slower(found.vs_previous, found.previous_ci95)
    }


def _paces(found: Mapping[str, float]) -> str:
    return ", ".join(f"{times(ratio)} {at(load)}" for load, ratio in found.items())


def candidates_title(row: Row) -> str:
    """Return the title of the table of models that a stage chose from."""
    return f"Candidates of {row.name}"


def runtime_title(name: str) -> str:
    """Return the title of the table of speeds in a runtime beside ONNX Runtime."""
    return f"In {WORDS.get(name, name)}"


def generation_title(found: Generation) -> str:
    """Return the title of the table of speeds of generating text."""
    return f"Generation: a prompt of {found.prompt} tokens, an answer of {found.answer}"


def tokens(rate: float) -> str:
    """Return a speed such as "41.5 tokens/s"."""
    return f"{rate:,.{0 if rate >= 99.95 else 1 if rate >= 9.995 else 2}f} tokens/s"


FROM_TEXT = "From a text to its answer"
BELOW_FROM_TEXT = (
    "The tokenizer and the model, in rounds in which the models take turns on the same texts of "
    "the test split. A batch is padded to its longest text; one text isn't padded."
)
BELOW_GENERATION = (
    "Prefill reads the whole prompt at once; decoding reads one token at a time, each the "
    "likeliest after those before it. One text at a time, in rounds in which the models take "
    "turns; on one thread by the thread's own time."
)

BELOW_RUNTIMES = (
    "Timed in the same rounds as ONNX Runtime, with as many threads and in float32 where a model "
    "computes in float. The last column says how many answers are those that ONNX Runtime gives."
)

BELOW_CANDIDATES = (
    "All were measured on validation samples, in the same rounds as the float model. A loss is the "
    "difference of the metric (for perplexity the relative difference)."
)


LEFT_ASIDE = "left aside"
"""What stands beside a row from which the run didn't go on."""


def stage(row: Row) -> str:
    """Return a row's name, with a mark if the run didn't go on from its model."""
    return f"{row.name} ({LEFT_ASIDE})" if row.left_aside else row.name


def metric(report: Report) -> str:
    """Return the name of the quality metric."""
    return report.stages[0].quality.metric if report.stages else "quality"


def direction(report: Report) -> str:
    """Return a sentence if less of the metric is better; otherwise an empty string."""
    if not report.stages or report.stages[0].quality.higher_is_better:
        return ""
    return f"Less {metric(report)} is better."


STATUS = {
    "running": "still running",
    "passed": "passed",
    "gate_failed": "a gate failed",
    "failed": "failed: the rows are those before the failure",
    "interrupted": "interrupted: running again resumes",
}
"""The meaning of each status."""


def environment_line(report: Report) -> str:
    """Return the machine in one line; empty if the report doesn't say."""
    given = report.environment
    parts = [str(given[key]) for key in ("cpu",) if given.get(key)]
    if given.get("flags"):
        parts.append(" ".join(str(flag) for flag in given["flags"]))
    if given.get("threads"):
        threads = given["threads"]
        parts.append("1 thread" if threads == 1 else f"{threads} threads")
    versions = given.get("versions") or {}
    others = dict.fromkeys(name for row in report.stages for name in row.runtimes)
    shown = ("onnxruntime", *others, "torch")
    parts += [f"{name} {versions[name]}" for name in shown if name in versions]
    return ", ".join(parts)


def notes(report: Report) -> list[str]:
    """Return every note; the notes of a row begin with its name."""
    of_rows = [f"{row.name}: {note}" for row in report.stages for note in row.notes]
    return [*report.notes, *of_rows]
