"""One model in ONNX Runtime and in OpenVINO, in float and in each form of INT8.

    python benchmarks/runtimes.py RECIPE [--onnx FILE] [--rows 1000] [--samples 64] [--seconds 10]
        [--forms FORM …]

RECIPE names the model, the task and the data; FILE is a float ONNX file to take in place of its
model. Each form is made on the same calibration samples: ours by `quantize`, `auto` as it comes;
ONNX Runtime's own by its quantizers with their defaults, after its preprocessing; NNCF's for this
CPU (weights of 7 bits where it has no VNNI) and with full 8 bits.
Prints for each form its size, and in each runtime the metric on the first test rows and the speed
over the float file in ONNX Runtime: medians of interleaved rounds on one thread, by the CPU time of
the process, so that other work on the machine doesn't count. With 0 seconds nothing is timed.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

BATCHES = (1, 32)
METHODS: dict[str, dict[str, Any]] = {
    "ours, auto": {"method": "auto"},
    "storage, 8 bits": {"method": "storage"},
    "dynamic": {"method": "dynamic"},
    "static scales": {"method": "static_scales"},
    "static QDQ": {"method": "static"},
    "weight_only, 4 bits": {"method": "weight_only", "bits": 4},
    "weight_only, 8 bits": {"method": "weight_only", "bits": 8},
    "NNCF": {"method": "nncf"},
    "NNCF, 8-bit weights": {"method": "nncf", "target_cpu": "x86-vnni"},
}
SEARCH: dict[str, Any] = {"samples": 400, "batch_sizes": list(BATCHES)}
NO_SEARCH: dict[str, Any] = {"samples": 16, "rounds": 5, "seconds": 0.01, "batch_sizes": [1]}
OWN = ("ONNX Runtime's dynamic", "ONNX Runtime's static")
"""Forms of ONNX Runtime's own quantizers."""
FORMS = (*METHODS, *OWN)


def quantize_as_onnxruntime(form: str, source: Path, target: Path, *, loader: Any) -> None:
    """Write a form of ONNX Runtime's own quantizers, with their defaults."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from compress.core.batch import model_inputs
    from compress.measurement.session import feed, session

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """The batches of a loader."""

        def __init__(self) -> None:
            self.batches = iter(loader)

        def get_next(self) -> dict[str, Any] | None:
            """Return the next batch's arrays by name; None after the last."""
            batch = next(self.batches, None)
            return None if batch is None else feed(session(source, threads=1), model_inputs(batch))

    ready = target.with_suffix(".pre.onnx")
    quant_pre_process(source, ready, skip_symbolic_shape=True)
    if form.endswith("dynamic"):
        quantize_dynamic(ready, target)
    else:
        quantize_static(ready, target, Reader())


def make(
    artifact: Any, context: Any, *, forms: list[str], samples: int, folder: Path
) -> dict[str, Path]:
    """The files by form; a line tells why a form can't be made."""
    from compress.core.artifact import Format
    from compress.errors import StageError
    from compress.exporting.checked import export_artifact
    from compress.stages.quantize.stage import Quantize

    files = {"float": folder / "float.onnx"}
    if artifact.module is None:
        files["float"] = artifact.require_onnx()
    else:
        export_artifact(artifact, context, files["float"])
        artifact = artifact.with_onnx(files["float"], format=Format.ONNX)
    for number, name in enumerate(forms):
        inner = folder / str(number)
        inner.mkdir()
        if name in OWN:
            loader = context.data.loader(
                "train", artifact.require_preprocessor(), batch_size=1, limit=samples
            )
            quantize_as_onnxruntime(name, files["float"], inner / "model.onnx", loader=loader)
            files[name] = inner / "model.onnx"
            continue
        fields = METHODS[name]
        stage = Quantize.model_validate(
            {
                **fields,
                "calibration": {"samples": samples, "method": "mse"},
                "evaluation": SEARCH if fields["method"] == "auto" else NO_SEARCH,
            }
        )
        start = time.process_time()
        try:
            made = stage.apply(artifact, replace(context, directory=inner))
        except StageError as error:
            print(f"{name} is left out: {error}", flush=True)
            continue
        print(f"{name}: {time.process_time() - start:.0f} s of CPU time", flush=True)
        files[name] = made.require_onnx()
        chosen = [note for note in made.notes if note.startswith("chosen: ")]
        print(*chosen, sep="\n", end="\n" if chosen else "", flush=True)
    return files


def measure(
    files: dict[str, Path],
    artifact: Any,
    context: Any,
    *,
    metric: str,
    rows: int,
    seconds: float,
) -> None:
    from compress.errors import StageError
    from compress.measurement.latency.measure import measure_latency
    from compress.measurement.quality import measure_quality
    from compress.measurement.runtimes.openvino import OpenVinoModel, timed
    from compress.measurement.size import size_bytes
    from compress.measurement.spec import MeasureSpec
    from compress.runner.row.inputs import latency_inputs

    spec = MeasureSpec(batch_sizes=BATCHES, rounds=10, seconds=seconds or 1.0)
    inputs, _ = latency_inputs(artifact, context, spec)
    models: dict[tuple[str, str], Any] = {}
    quality: dict[tuple[str, str], float] = {}
    for name, path in files.items():
        for runtime in ("ONNX Runtime", "OpenVINO"):
            loader = context.data.loader(
                "test", artifact.require_preprocessor(), batch_size=32, limit=rows
            )
            try:
                elsewhere = runtime == "OpenVINO"
                quality[name, runtime] = measure_quality(
                    OpenVinoModel(path, threads=1).run if elsewhere else path,
                    loader=loader,
                    metric=metric,
                    task=context.task,
                    labels=artifact.labels,
                ).value
            except StageError as error:
                print(f"{name} in {runtime} is left out: {error}", flush=True)
                continue
            models[name, runtime] = timed(path, threads=1) if elsewhere else path
    keys = {f"{name}; {runtime}": (name, runtime) for name, runtime in models}
    named = {key: models[pair] for key, pair in keys.items()}
    timed_at = BATCHES if seconds else ()
    if timed_at:
        times = measure_latency(named, inputs, spec=spec, clock=time.process_time_ns)
    sizes = {name: size_bytes(path) for name, path in files.items()}
    print(
        "|", " | ".join(["form", "size", "runtime", metric, *(f"batch {n}" for n in timed_at)]), "|"
    )
    print("| --- " * (4 + len(timed_at)) + "|")
    for key, (name, runtime) in keys.items():
        cells = [
            name,
            f"{sizes[name] / 1e6:.2f} MB, {sizes['float'] / sizes[name]:.2f}x",
            runtime,
            f"{quality[name, runtime]:.4f}",
        ]
        for size in timed_at:
            value, (low, high) = times.speedup(size, key, over="float; ONNX Runtime")
            cells.append(f"{value:.2f}x {low:.2f}-{high:.2f}")
        print("|", " | ".join(cells), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    logging.disable(logging.WARNING)

    import torch

    import compress
    from compress.measurement.environment import cpu_flags, cpu_name
    from compress.recipe.load import load_recipe

    torch.set_num_threads(1)
    recipe = load_recipe(given.recipe)
    model = recipe.model if given.onnx is None else {"onnx": str(given.onnx)}
    with tempfile.TemporaryDirectory() as place:
        artifact, context = compress.load(
            model, recipe.task, recipe.data, directory=Path(place) / "stage", threads=1
        )
        print(f"{cpu_name()}: {', '.join(sorted(cpu_flags() or ()))}", flush=True)
        files = make(
            artifact, context, forms=given.forms, samples=given.samples, folder=Path(place)
        )
        metric = recipe.measure.metric
        if not isinstance(metric, str):
            metric = context.task.default_metric(labelled=context.data.labelled)
        measure(files, artifact, context, metric=metric, rows=given.rows, seconds=given.seconds)


if __name__ == "__main__":
    main()
