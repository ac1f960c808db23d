"""What a quantize stage says about its result: for which CPU it is, why it, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.errors import TargetError
from compress.exporting.parity.first_difference import first_difference_of_files
from compress.measurement.cpu import this_cpu
from compress.measurement.results import NOISE, at
from compress.quantization.cpu import reason
from compress.stages.quantize.attempts import attempt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from compress.core.context import Batch
    from compress.measurement.cpu import TargetCpu
    from compress.measurement.results import Evaluation
    from compress.quantization.evaluation import Candidate
    from compress.stages.quantize.candidates import CandidateSpec


def about_cpu(spec: CandidateSpec, cpu: TargetCpu) -> list[str]:
    """Return why the 8-bit types suit a CPU, and whether another kind of CPU measured them."""
    if spec.computes_in_float:
        return []
    here = this_cpu()
    elsewhere = [f"measured on another kind of CPU: {here}"] if here.target != cpu else []
    return [reason(cpu, spec.integers), *elsewhere]


def reasons(evaluations: Sequence[Evaluation], *, chosen: Evaluation) -> list[str]:
    """Return one line that tells why a candidate was chosen: the best of the others beside it.

    Parameters
    ----------
    evaluations : evaluations of the float model, and then of each candidate.
    """
    others = [each for each in evaluations[1:] if each.name != chosen.name]
    words = (
        ["chosen: the float model as it is, since what can be made of it is slower and no smaller"]
        if chosen is evaluations[0]
        else [f"chosen: {chosen.name}, {paces(chosen)}, loss {chosen.loss:.4f}"]
    )
    faster = [each for each in others if each.pace > chosen.pace * (1 + NOISE)]
    lossy = [each for each in faster if not each.fits]
    uneven = [each for each in faster if each.fits and each.slow_batches]
    fitting = [each for each in others if each.fits and each not in uneven]
    if fitting:
        words.append(_next("the next within the budget", fitting))
    if lossy:
        words.append(_next("faster, but over the budget", lossy))
    if uneven:
        words.append(_next("faster on the whole, but slower than the float model", uneven))
    return ["; ".join(words)]


def _next(what: str, found: Sequence[Evaluation]) -> str:
    best = max(found, key=lambda each: each.pace)
    return f"{what}: {best.name}, {paces(best)}, loss {best.loss:.4f}"


def paces(found: Evaluation) -> str:
    """Return the speedups over the float model, such as "1.43x at batch 1, 1.60x at batch 32"."""
    return ", ".join(f"{s.vs_original:.2f}x {at(load)}" for load, s in found.speedup.items())


def no_gain(name: str, evaluations: Sequence[Evaluation]) -> bool:
    """Return whether a candidate is slower than the float model and no smaller."""
    own = next(each for each in evaluations if each.name == name)
    return bool(own.slower_at) and own.size_bytes >= evaluations[0].size_bytes


def costs(own: Evaluation, whole: Evaluation) -> list[str]:
    """Return a note for each respect in which quantization is no gain."""
    larger = own.size_bytes >= whole.size_bytes
    sizes = f"{own.size_bytes:,} bytes quantized, {whole.size_bytes:,} in float"
    return [
        *([f"SLOWER than the float model: {paces(own)}"] if own.slower_at else []),
        *([f"no smaller: {sizes}"] if larger else []),
    ]


def over_budget(
    candidates: Sequence[Candidate],
    evaluations: Sequence[Evaluation],
    *,
    source: Path,
    batch: Batch,
    budget: float,
) -> TargetError:
    """Return an error with each candidate's loss and the best one's first differing node.

    Parameters
    ----------
    evaluations : evaluations of the float model, and then of each candidate.
    source, batch : the float model, and inputs on which nodes are compared.
    """
    whole, *others = evaluations
    losses = [each.loss for each in others]
    best = candidates[losses.index(min(losses))]
    where = attempt(
        "the first node that differs",
        lambda: first_difference_of_files(source, best.path, batch=batch),
        left_out=[],
    )
    lost = "; ".join(f"{each.name} loses {each.loss:.4f}" for each in others)
    return TargetError(
        f"no INT8 candidate keeps within a loss of {budget:g} on "
        f"{whole.quality.samples} validation samples: {lost}. "
        f"{f'In {best.name}: {where} ' if where else ''}"
        "Allow more with 'budget', or train with 'recovery'."
    )
