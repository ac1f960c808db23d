"""The run in one sentence: from what, to what, at what cost, and for whom it isn't worth it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.measurement.results import NOISE, at, slower
from compress.measurement.runtimes.names import ONNXRUNTIME, WORDS
from compress.report import words

if TYPE_CHECKING:
    from compress.measurement.results import Speedup
    from compress.report.document import Report, Row


def sentence(report: Report) -> str:
    """Return the run in one sentence, one on its runtimes, and one on a rival that is worse.

    The second is there if others than ONNX Runtime were timed, and the third if the rival is worse
    than the reference; one that isn't stands above, see `words.headlines`. Empty before there is
    anything to tell.
    """
    rival = words.baseline(report)
    said = [
        _run(report),
        runtimes(report.final) if report.stages else "",
        "" if rival in words.headlines(report) else rival,
    ]
    return " ".join(filter(None, said))


def _run(report: Report) -> str:
    if not report.stages or report.final.index <= report.reference:
        return ""
    reference, final = report.stages[report.reference], report.final
    parts = [_smaller(reference, final), *_faster(final), _cost(reference, final)]
    reasons = _against(report, reference, final)
    end = f"; it isn't worth it {_joined(reasons, 'or')}" if reasons else ""
    return f"{', '.join(parts)}{end}."


def runtimes(row: Row) -> str:
    """Return a sentence on the runtime that runs a row's model faster; empty if one was timed.

    A runtime wins where its interval of the speedup over the original in ONNX Runtime lies above
    ONNX Runtime's own, by more than noise.
    """
    won: dict[str, list[str]] = {}
    for load, own in row.speedup.items() if row.runtimes else ():
        rivals = {
            name: found.speedup_vs_onnxruntime[load]
            for name, found in row.runtimes.items()
            if load in found.speedup_vs_onnxruntime
        }
        if not rivals:
            continue
        name = max(rivals, key=lambda each: rivals[each].vs_original)
        ratio = rivals[name].vs_original / own.vs_original
        if _surely(rivals[name], own):
            won.setdefault(name, []).append(f"{at(load)} ({words.times(ratio)})")
        elif _surely(own, rivals[name]):
            won.setdefault(ONNXRUNTIME, []).append(f"{at(load)} ({words.times(1 / ratio)})")
        else:
            won.setdefault("", []).append(at(load))
    even = won.pop("", [])
    said = [
        f"{WORDS.get(name, name)} is the faster runtime {_joined(where, 'and')}"
        for name, where in won.items()
    ]
    if even:
        said.append(f"its runtimes are equally fast {_joined(even, 'and')}")
    text = ", ".join(said)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _surely(fast: Speedup, slow: Speedup) -> bool:
    """Return whether one speedup is above another by more than noise, and its whole interval."""
    least = fast.vs_original if fast.ci95 is None else fast.ci95[0]
    most = slow.vs_original if slow.ci95 is None else slow.ci95[1]
    return least > most and fast.vs_original > slow.vs_original * (1 + NOISE)


def _smaller(reference: Row, final: Row) -> str:
    ratio = reference.size_bytes / final.size_bytes
    sizes = f"From {words.size(reference.size_bytes)} to {words.size(final.size_bytes)}"
    if round(ratio, 2) == 1:
        return f"{sizes} (the same size)"
    if ratio > 1:
        return f"{sizes} ({words.times(ratio)} smaller)"
    return f"{sizes} ({words.times(1 / ratio)} larger)"


def _faster(final: Row) -> list[str]:
    found = [f"{words.times(each.vs_original)} {at(load)}" for load, each in final.speedup.items()]
    if not found:
        return []
    first, *others = found
    ratio, _, where = first.partition(" ")
    return [_joined([f"{ratio} as fast {where}", *others], "and")]


def _cost(reference: Row, final: Row) -> str:
    metric, found = final.quality.metric, final.vs_reference
    values = f"{words.value(reference.quality)} to {words.value(final.quality)}"
    if found is None:
        return f"with {metric} from {values}"
    change = words.difference(found.change, final.quality)
    ends = " to ".join(words.difference(end, final.quality) for end in found.ci95)
    said = f"{metric} from {values} ({change}, 95 % interval {ends})"
    if found.verdict == "worse":
        return f"at the cost of {said}"
    if found.verdict == "better":
        return f"with better {said}"
    return f"with {said}: {found.verdict}"


def _against(report: Report, reference: Row, final: Row) -> list[str]:
    """Return for whom the result isn't worth it, as far as the run measured that."""
    reasons = [
        f"for calls {at(load)}, which are slower ({words.times(found.vs_original)})"
        for load, found in final.speedup.items()
        if slower(found.vs_original, found.ci95)
    ]
    if final.size_bytes > reference.size_bytes:
        reasons.append("where bytes count")
    if final.vs_reference is not None and final.vs_reference.verdict == "worse":
        loss = words.difference(abs(final.vs_reference.change), final.quality).lstrip("+")
        reasons.append(f"where {loss} of {final.quality.metric} matters")
    baseline = report.baseline
    verdict = None if baseline is None else baseline.verdict
    if baseline is not None and verdict is not None and verdict.verdict != "worse":
        value, size = words.value(baseline.quality), words.size(baseline.size_bytes)
        kind = words.RIVALS[baseline.kind]
        reasons.append(f"where {kind} will do ({baseline.name}: {value} in {size})")
    return reasons


def _joined(parts: list[str], last: str) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"
