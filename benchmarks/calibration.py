"""Peak memory of calibrating a text classifier, beside that of onnxruntime's own calibrator.

    python benchmarks/calibration.py MODEL test.parquet --samples 64 512 4096

MODEL is a transformers folder, the parquet file has a column `text`. Both use the percentile method
on the inputs and outputs of the same operator types. onnxruntime's calibrator is run as
`quantize_static` runs it (all samples, then the histograms), and once a sample, as its API also
allows; it wants equal shapes, so its samples are padded. Each row is a process of its own, stopped
when its resident set passes the guard. Linux.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

MIB = 2**20
PERCENTILE = 99.99
FORMS = ("ours", "onnxruntime", "onnxruntime, one by one")


class Texts:
    """Batches of tokenized texts, made anew whenever they are gone through."""

    def __init__(self, options: argparse.Namespace, *, count: int, padded: bool) -> None:
        import pyarrow.parquet as pq
        from tokenizers import Tokenizer

        self._texts = pq.read_table(options.data, columns=["text"])["text"][:count].to_pylist()
        if len(self._texts) < count:
            raise SystemExit(f"{options.data} has only {len(self._texts)} texts, not {count}")
        self._tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
        self._tokenizer.enable_truncation(options.length)
        self._tokenizer.enable_padding(length=options.length if padded else None)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(self._texts), 8):
            found = self._tokenizer.encode_batch(self._texts[start : start + 8])
            yield {
                "input_ids": np.array([text.ids for text in found]),
                "token_type_ids": np.array([text.type_ids for text in found]),
                "attention_mask": np.array([text.attention_mask for text in found]),
            }


def export_model(options: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Write the float model; returns what a static quantization of it would calibrate."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from compress.exporting.to_onnx import export_module
    from compress.onnx_graph.files import load_graph
    from compress.quantization.selection import select
    from compress.quantization.static import activations
    from compress.tasks.task import TASKS

    module = AutoModelForSequenceClassification.from_pretrained(options.model, dtype=torch.float32)
    batch = next(iter(Texts(options, count=2, padded=False)))
    export_module(
        module.eval(),
        task=TASKS["text-classification"],
        example={name: torch.from_numpy(array) for name, array in batch.items()},
        path=path,
        labels=list(module.config.label2id),
    )
    selection = select(load_graph(path), method="static")
    names = activations(load_graph(path), selection)
    return {"tensors": names, "operators": selection.operators}


def calibrate_ours(options: argparse.Namespace) -> int:
    from compress.quantization.calibration.observe import observe

    batches = Texts(options, count=options.count, padded=False)
    seen = observe(options.onnx, options.tensors, batches=batches, methods=["percentile"])
    return len(seen.ranges("percentile", percentile=PERCENTILE))


def calibrate_theirs(options: argparse.Namespace) -> int:
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    from compress.quantization.silence import silence

    def single() -> Iterator[dict[str, Any]]:
        for batch in Texts(options, count=options.count, padded=True):
            for place in range(len(batch["input_ids"])):
                yield {name: array[place : place + 1] for name, array in batch.items()}

    class Reader:
        def __init__(self, samples: Iterator[dict[str, Any]]) -> None:
            self._samples = samples

        def get_next(self) -> dict[str, Any] | None:
            return next(self._samples, None)

    with silence(), tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            options.onnx,
            options.operators,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"symmetric": False, "percentile": PERCENTILE},
        )
        if options.form == "onnxruntime":
            calibrator.collect_data(Reader(single()))
        else:
            for sample in single():
                calibrator.collect_data(Reader(iter([sample])))
        return len(calibrator.compute_data().keys())


def measure(options: argparse.Namespace) -> dict[str, Any]:
    import onnxruntime  # noqa: F401 (what it loads once isn't the calibration's)

    before, start = psutil.Process().memory_info().rss, time.process_time()
    work = calibrate_ours if options.form == "ours" else calibrate_theirs
    tensors = work(options)
    return {
        "tensors": tensors,
        "seconds": time.process_time() - start,
        "before": before / MIB,
        "peak": peak_bytes() / MIB,
    }


def peak_bytes() -> int:
    """Of this program alone; getrusage would also count the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def run_guarded(command: list[str], *, guard_bytes: float) -> dict[str, Any] | None:
    """What the child printed; None where it was stopped at the guard."""
    with tempfile.TemporaryFile("w+") as printed:
        child = subprocess.Popen(command, stdout=printed)
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            try:
                used = watched.memory_info().rss
            except psutil.NoSuchProcess:
                break
            if used > guard_bytes:
                child.kill()
                child.wait()
                return None
            time.sleep(0.02)
        if child.wait() != 0:
            raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
        printed.seek(0)
        row: dict[str, Any] = json.loads(printed.read().splitlines()[-1])
        return row


def show(form: str, count: int, row: dict[str, Any] | None, guard_gib: float) -> None:
    if row is None:
        print(f"| {form} | {count} | stopped above {guard_gib:g} GiB | - | - |", flush=True)
        return
    above = row["peak"] - row["before"]
    print(
        f"| {form} | {count} | {row['peak']:.0f} MiB | {above:.0f} MiB | {row['seconds']:.1f} s |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--samples", type=int, nargs="+", default=[64, 512, 4096])
    parser.add_argument("--theirs", type=int, nargs="*", default=[16, 32, 64, 128])
    parser.add_argument("--one-by-one", type=int, nargs="*", default=[64, 128])
    parser.add_argument("--length", type=int, default=64, help="most tokens of a text")
    parser.add_argument("--guard-gib", type=float, default=6.0)
    for hidden, kind in (("--form", str), ("--count", int), ("--onnx", Path)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    for hidden in ("--tensors", "--operators"):
        parser.add_argument(hidden, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.form == "lower":
        print(json.dumps(export_model(options, options.onnx)))
        return
    if options.form:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        guard_bytes = options.guard_gib * 2**30
        command = [sys.executable, __file__, str(options.model), str(options.data)]
        command += ["--length", str(options.length), "--onnx", str(Path(folder) / "float.onnx")]
        wanted = run_guarded([*command, "--form", "lower"], guard_bytes=guard_bytes)
        for name in ("tensors", "operators"):
            command += [f"--{name}", *wanted[name]]
        print("| calibrator | samples | peak memory | above the start | processor time |")
        print("| --- | --- | --- | --- | --- |")
        peaks = []
        for form, counts in zip(
            FORMS, (options.samples, options.theirs, options.one_by_one), strict=True
        ):
            for count in counts:
                own = [*command, "--form", form, "--count", str(count)]
                row = run_guarded(own, guard_bytes=guard_bytes)
                show(form, count, row, options.guard_gib)
                if form == "ours" and row:
                    peaks.append(row["peak"])
    print(f"\nours, largest peak / smallest: {max(peaks) / min(peaks):.3f}")


if __name__ == "__main__":
    main()
