"""INT8 graphs of one text classifier against one another: what others offer, and what is made here.

    python benchmarks/int8_graphs.py MODEL DATA [--run RUN] [--rows 4000] [--seconds 10]

MODEL is a transformers folder of sequence classification, DATA a folder with train.parquet and
test.parquet (columns text and label), RUN the results of a recipe that only quantizes and exports
MODEL. Prints, for each graph, the accuracy on the test rows (in
batches of 32, all padded to the full length), on how many rows it answers otherwise than the float
file, its size, and how much faster it is than the float file: medians of interleaved rounds, text
of the full length. On one thread the clock is the thread's own, so that other work on the machine
doesn't count.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

Arrays = dict[str, np.ndarray]

CALIBRATION_ROWS = 128
BATCHES = (1, 32)
PRODUCTS = ["MatMul", "Gemm"]
TABLES = [*PRODUCTS, "Gather"]


def tokenized(folder: Path, file: Path, *, rows: int, length: int) -> tuple[Arrays, np.ndarray]:
    import pyarrow.parquet as pq
    from transformers import AutoTokenizer

    table = pq.read_table(file, columns=["text", "label"])[:rows].to_pydict()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(table["text"], max_length=length, truncation=True, padding="max_length")
    places = json.loads((folder / "config.json").read_text(encoding="utf-8"))["label2id"]
    labels = np.array([places[str(label)] for label in table["label"]])
    return {name: np.array(values, np.int64) for name, values in encoded.items()}, labels


def export_model(folder: Path, path: Path, batch: Arrays) -> Path:
    import torch
    from transformers import AutoModelForSequenceClassification

    from compress.exporting.to_onnx import export_module
    from compress.tasks.task import TASKS

    torch.set_num_threads(1)
    module = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    example = {name: torch.from_numpy(array[:2]) for name, array in batch.items()}
    return export_module(
        module.eval(),
        task=TASKS["text-classification"],
        example=example,
        path=path,
        labels=list(module.config.id2label.values()),
    )


class Reader:
    """Calibration samples as onnxruntime wants them."""

    def __init__(self, batch: Arrays) -> None:
        rows = len(next(iter(batch.values())))
        self._rest: Iterator[Arrays] = iter(
            [{name: array[i : i + 1] for name, array in batch.items()} for i in range(rows)]
        )

    def get_next(self) -> Arrays | None:
        return next(self._rest, None)


def dynamic(source: Path, path: Path, *, operators: list[str] | None, per_channel: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    options: dict[str, Any] = {"DefaultTensorType": onnx.TensorProto.FLOAT}
    if operators is not None:
        options["MatMulConstBOnly"] = True
    quantize_dynamic(
        source,
        path,
        op_types_to_quantize=operators,
        per_channel=per_channel,
        weight_type=QuantType.QInt8,
        extra_options=options,
    )


def static_defaults(source: Path, path: Path, *, batch: Arrays) -> None:
    from onnxruntime.quantization import quantize_static

    quantize_static(source, path, Reader(batch))


def static_best(source: Path, path: Path, *, batch: Arrays, method: str) -> None:
    """QDQ, unsigned activations and signed weights, per channel, matmuls alone."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    options: dict[str, Any] = {"MatMulConstBOnly": True, "CalibPercentile": 99.99}
    quantize_static(
        source,
        path,
        Reader(batch),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=PRODUCTS,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method],
        extra_options=options,
    )


def fused_by_onnxruntime(source: Path, path: Path) -> Path:
    """Its own transformer fusions, which find heads and widths by themselves."""
    from onnxruntime.transformers.optimizer import optimize_model

    model = optimize_model(str(source), model_type="bert", opt_level=0)
    model.save_model_to_file(str(path))
    return path


def rivals(source: Path, folder: Path, batch: Arrays) -> dict[str, Callable[[Path], Any]]:
    """What onnxruntime offers, by name: each writes a file."""
    fused = fused_by_onnxruntime(source, folder / "fused.onnx")
    plain = partial(dynamic, source, operators=None, per_channel=False)
    return {
        "dynamic, defaults": lambda path: plain(path),
        "dynamic, per channel": partial(dynamic, source, operators=TABLES, per_channel=True),
        "static, defaults": partial(static_defaults, source, batch=batch),
        "static U8S8 QDQ per channel, minmax": partial(
            static_best, source, batch=batch, method="MinMax"
        ),
        "static U8S8 QDQ per channel, percentile": partial(
            static_best, source, batch=batch, method="Percentile"
        ),
        "transformer fusions, float": lambda path: path.write_bytes(fused.read_bytes()),
        "transformer fusions, dynamic": partial(dynamic, fused, operators=TABLES, per_channel=True),
    }


def own(source: Path, folder: Path, batch: Arrays) -> dict[str, Callable[[Path], Any]]:
    """The graphs of `compress.graph_variants`, in float and dynamically quantized."""
    from compress.graph_variants.variants import graph_variants

    made: dict[str, Callable[[Path], Any]] = {}
    for form in graph_variants(
        source, folder, sample={name: array[:4] for name, array in batch.items()}
    )[1:]:
        made[f"{form.name}, float"] = partial(_copy, form.path)
        made[f"{form.name}, dynamic"] = partial(
            dynamic, form.path, operators=TABLES, per_channel=True
        )
    return made


def _copy(source: Path, path: Path) -> None:
    path.write_bytes(source.read_bytes())


def answers(path: Path, batch: Arrays) -> np.ndarray:
    from compress.measurement.session import run, session

    runtime = session(path, threads=1)
    rows = len(next(iter(batch.values())))
    return np.concatenate(
        [
            next(iter(run(runtime, {k: v[i : i + 32] for k, v in batch.items()}).values()))
            for i in range(0, rows, 32)
        ]
    ).argmax(-1)


def timed(files: dict[str, Path], batch: Arrays, *, threads: int, seconds: float) -> Any:
    from compress.measurement.latency.measure import measure_latency
    from compress.measurement.spec import MeasureSpec

    full = np.flatnonzero(batch["attention_mask"].all(axis=1))
    inputs = {
        size: {name: array[np.resize(full, size)] for name, array in batch.items()}
        for size in BATCHES
    }
    spec = MeasureSpec(batch_sizes=list(BATCHES), threads=threads, seconds=seconds, rounds=10)
    clock = time.thread_time_ns if threads == 1 else time.perf_counter_ns
    return measure_latency(files, inputs, spec=spec, clock=clock)


def table(files: dict[str, Path], batch: Arrays, labels: np.ndarray, times: dict[int, Any]) -> None:
    columns = [f"batch {size}, {threads} thread(s)" for threads in times for size in BATCHES]
    print("| graph | accuracy | difference | other answers | size |", " | ".join(columns), "|")
    print("| --- " * (5 + len(columns)) + "|")
    float_answers = answers(files["float"], batch)
    reference = np.mean(float_answers == labels)
    for name, path in files.items():
        found = answers(path, batch)
        accuracy = np.mean(found == labels)
        cells = [
            name,
            f"{accuracy:.2%}",
            f"{100 * (accuracy - reference):+.2f}",
            str(int((found != float_answers).sum())),
            f"{path.stat().st_size / 1e6:.1f} MB",
        ]
        for latencies in times.values():
            for size in BATCHES:
                value, (low, high) = latencies.speedup(size, name, over="float")
                cells.append(f"{value:.2f}x {low:.2f}-{high:.2f}")
        print("|", " | ".join(cells), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--run", type=Path, help="folder of a run whose model.onnx is compared too")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        test, labels = tokenized(
            given.model, given.data / "test.parquet", rows=given.rows, length=given.length
        )
        train, _ = tokenized(
            given.model, given.data / "train.parquet", rows=CALIBRATION_ROWS, length=given.length
        )
        source = export_model(given.model, folder / "float.onnx", test)
        files = {"float": source}
        made = rivals(source, folder, train) | own(source, folder, test)
        for index, (name, make) in enumerate(made.items()):
            files[name] = folder / f"graph-{index}.onnx"
            make(files[name])
        if given.run is not None:
            files["compress: quantize"] = given.run / "model.onnx"
        times = {
            threads: timed(files, test, threads=threads, seconds=given.seconds)
            for threads in given.threads
        }
        table(files, test, labels, times)


if __name__ == "__main__":
    main()
