"""Times a row's model in rounds in which it takes turns with those that it is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from compress.errors import DataError, StageError
from compress.exporting.checked import real_batches
from compress.exporting.parity.compare import compare, onnx_answers
from compress.measurement.latency.clocks import process_clock
from compress.measurement.latency.measure import measure_latency
from compress.measurement.latency.results import Conditions, Throughput, Typical
from compress.measurement.results import InRuntime, Latency, Speedup
from compress.measurement.runtimes.beside import InOpenVino, answers_note, open_in_openvino
from compress.measurement.runtimes.names import OPENVINO
from compress.measurement.serving.measure import measure_serving
from compress.measurement.session import feed, session
from compress.models.transformers.vocabulary import reads_alike
from compress.runner.row.inputs import latency_inputs, repeated, typical_inputs
from compress.runner.torch_measurement import module_calls

if TYPE_CHECKING:
    import numpy as np

    from compress.core.context import Context
    from compress.measurement.latency.measure import Call, Prepare, Timed
    from compress.measurement.latency.times import Latencies, Load
    from compress.measurement.serving.results import Serving
    from compress.measurement.spec import MeasureSpec
    from compress.runner.row.models import ComparedModel, MeasuredModel

    Inputs = Mapping[int, Mapping[str, np.ndarray[Any, Any]]]

ORIGINAL, PREVIOUS, THIS = "original", "previous", "this"
_OF_THE_TIME = 0.5
"""Part of the time for a batch size that one of the median length has."""
_SWING = 1.5


class Speeds(NamedTuple):
    """Latency and speedups by batch size, what follows from them, and notes."""

    latency: dict[str, Latency]
    speedup: dict[str, Speedup]
    runtimes: dict[str, InRuntime]
    throughput: Throughput
    conditions: Conditions | None
    notes: tuple[str, ...]


def measure_speed(
    measured: MeasuredModel,
    inputs: Inputs,
    *,
    context: Context,
    spec: MeasureSpec,
    original: ComparedModel | None,
    previous: ComparedModel | None,
) -> Speeds:
    """Return what rounds tell in which the models take turns.

    Parameters
    ----------
    inputs : arrays (N, …) by batch size and input name.
    """
    models = _timed(measured, original, previous, context=context)
    for name, of in in_turn(measured, original, previous).items():
        if of.onnx is not None and not reads_alike(measured.artifact, of.artifact):
            models[name] = _by_own_tokens(of, of.onnx, context=context, spec=spec)
    files = {
        name: path for name, path in models.items() if isinstance(path, Path) and name != PREVIOUS
    }
    others = open_in_openvino(
        spec.runtimes,
        files,
        {size: dict(arrays) for size, arrays in inputs.items()},
        threads=spec.threads,
    )
    times = measure_latency(
        models | others.timed(),
        inputs,
        spec=spec,
        progress=context.progress,
        clock=process_clock(spec.threads) if others.models else None,
    )
    latency, speedup = by_size(times, models, spec, original=original, previous=previous)
    runtimes, notes = _elsewhere(others, times, measured, context=context, original=original)
    return Speeds(
        latency,
        speedup,
        runtimes,
        _best(latency),
        times.conditions,
        (*times.notes, *notes, *_noise_notes(times, spec)),
    )


def measure_typical(
    measured: MeasuredModel,
    *,
    context: Context,
    spec: MeasureSpec,
    original: ComparedModel | None,
    previous: ComparedModel | None,
) -> tuple[Typical | None, list[str]]:
    """Return the speed at the data's median length or size, if that isn't the full one, and notes.

    A batch is one sample of that length, as often as it needs; half of the time for the full
    length is for this.
    """
    found = typical_inputs(measured.artifact, context)
    if found is None:
        return None, []
    others = in_turn(measured, original, previous).values()
    if not all(reads_alike(measured.artifact, of.artifact) for of in others):
        return None, ["not timed at the median length: the models read other tokens"]
    sample, full = found
    shorter = {"seconds": spec.seconds * _OF_THE_TIME, "rounds": round(spec.rounds * _OF_THE_TIME)}
    try:
        times = measure_latency(
            _timed(measured, original, previous, context=context),
            {size: repeated(sample, size) for size in spec.batch_sizes},
            spec=spec.model_copy(update=shorter),
            progress=context.progress,
        )
    except (DataError, StageError) as error:
        return None, [f"not timed at the median length: {error}"]
    models = in_turn(measured, original, previous)
    latency, speedup = by_size(times, models, spec, original=original, previous=previous)
    name = next(iter(sample))
    # Of an image the channels are no size.
    axes = slice(2 if context.task.modality == "image" else 1, None)
    return Typical(sample[name].shape[axes], full[name].shape[axes], latency, speedup), []


def serving(
    measured: MeasuredModel, inputs: Inputs, spec: MeasureSpec
) -> tuple[Serving | None, list[str]]:
    """Return memory and load time of a process that only serves the model, and notes."""
    if measured.onnx is None:
        return None, []
    largest = inputs[max(inputs)]
    try:
        return measure_serving(measured.onnx, largest, threads=spec.threads), []
    except (DataError, StageError) as error:
        return None, [f"memory of serving isn't known: {error}"]


def _timed(
    measured: MeasuredModel,
    original: ComparedModel | None,
    previous: ComparedModel | None,
    *,
    context: Context,
) -> dict[str, Timed]:
    def model(of: MeasuredModel | ComparedModel) -> Timed:
        if measured.onnx is None or of.onnx is None:
            return module_calls(of.artifact.require_module(), task=context.task)
        return of.onnx

    return {name: model(of) for name, of in in_turn(measured, original, previous).items()}


def _by_own_tokens(
    of: MeasuredModel | ComparedModel, onnx: Path, *, context: Context, spec: MeasureSpec
) -> Prepare:
    """Return a model that gets the same samples by its own tokenizer, instead of given inputs."""
    own, _ = latency_inputs(of.artifact, context, spec)
    opened = session(onnx, threads=spec.threads)

    def prepare(inputs: Mapping[str, np.ndarray[Any, Any]]) -> Call:
        given = feed(opened, own[len(next(iter(inputs.values())))])
        return lambda: opened.run(None, given)

    return prepare


def in_turn(
    measured: MeasuredModel, original: ComparedModel | None, previous: ComparedModel | None
) -> dict[str, MeasuredModel | ComparedModel]:
    """Return the models that take turns; the original and the previous one may be the same."""
    models: dict[str, MeasuredModel | ComparedModel] = {THIS: measured}
    if original is not None:
        models[ORIGINAL] = original
    if previous is not None:
        same = original is not None and previous.row.index == original.row.index
        models[ORIGINAL if same else PREVIOUS] = previous
    return models


def by_size(
    times: Latencies,
    models: Iterable[str],
    spec: MeasureSpec,
    *,
    original: ComparedModel | None,
    previous: ComparedModel | None,
) -> tuple[dict[str, Latency], dict[str, Speedup]]:
    """Return latency and speedup by batch size."""
    latency, speedup = {}, {}
    for size in spec.batch_sizes:
        latency[str(size)] = times.latency(size, THIS)
        speedup[str(size)] = speedup_of(times, size, models, original=original, previous=previous)
    return latency, speedup


def _best(latency: Mapping[str, Latency]) -> Throughput:
    """Return the most samples a second."""
    rates = {int(size): 1000 * int(size) / found.p50 for size, found in latency.items()}
    size = max(rates, key=lambda each: rates[each])
    return Throughput(rates[size], size)


def _noise_notes(times: Latencies, spec: MeasureSpec) -> list[str]:
    """Return a note if the machine was too noisy for the intervals that are asked for."""
    found = times.conditions
    if found is None or not found.too_noisy:
        return []
    widths = ", ".join(f"±{times.half_width(int(size)):.1%} at {size}" for size in found.too_noisy)
    asked = f"±{spec.precision:.1%} in {spec.seconds:g} s"
    said = [f"the machine was too noisy to know speedups to {asked}; they are known to {widths}"]
    if found.busy_during is not None:
        said.append(f"other processes used {found.busy_during:.0%} of its CPU time")
    if found.swing is not None and found.swing > _SWING:
        said.append(f"its pace changed by up to {found.swing:.1f}x")
    return ["; ".join(said)]


def speedup_of(
    times: Latencies,
    load: Load,
    models: Iterable[str],
    *,
    original: ComparedModel | None,
    previous: ComparedModel | None,
) -> Speedup:
    over = {name: times.speedup(load, THIS, over=name) for name in models}
    vs_original, ci95 = over.get(ORIGINAL, over[THIS])
    vs_previous, previous_ci95 = over.get(PREVIOUS, (vs_original, ci95))
    return Speedup(
        vs_original=vs_original,
        ci95=None if original is None else ci95,
        vs_previous=None if previous is None else vs_previous,
        previous_ci95=None if previous is None else previous_ci95,
    )


def _elsewhere(
    others: InOpenVino,
    times: Latencies,
    measured: MeasuredModel,
    *,
    context: Context,
    original: ComparedModel | None,
) -> tuple[dict[str, InRuntime], list[str]]:
    """Return the speed in OpenVINO, if the model runs there, and notes on the answers."""
    model = others.models.get(THIS)
    if model is None or measured.onnx is None:
        return {}, list(others.refused.values())[:1]
    try:
        found = compare(
            onnx_answers(measured.onnx, threads=context.threads),
            model.answer,
            batches=real_batches(measured.artifact, context),
            target=context.task.target,
        ).require_finite(measured.onnx)
    except StageError as error:
        return {}, [f"not timed in OpenVINO: {error}"]
    speeds = others.speeds(times, this=THIS, original=THIS if original is None else ORIGINAL)
    runtime = speeds.with_answers(agreement=found.agreement, max_difference=found.max_error)
    return {OPENVINO: runtime}, [answers_note(runtime, said=found.top1())]
