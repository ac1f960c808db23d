"""How right and how fast is a classifier of n-grams, taught by a transformer and a linear model?

    python benchmarks/ngrams.py DATA MODEL [--seeds 3] [--sizes large small] [--teachers …]

DATA is a folder with train.parquet, validation.parquet and test.parquet, whose columns are `text`
and `label`. MODEL is a classifier of these labels. Each student has a tokenizer of its own, starts
as a linear SVM on its n-grams, learns of the teachers, and is stored in 8 bits. Accuracy is on the
whole test split. Times are the process's CPU time from a text to its answer, tokenizer included,
one text at a time on one thread; the models take turns, 20 texts each. WORK keeps the teachers'
answers for the next call.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas

import compress
from compress.core.artifact import Artifact
from compress.core.batch import LABELS
from compress.core.context import Context
from compress.exporting.checked import export_artifact
from compress.measurement.environment import cpu_name
from compress.measurement.session import feed, run, session
from compress.runner.row.from_text import text_reader
from compress.stages.distill import Distill
from compress.stages.quantize.stage import Quantize

SIZES = {
    "large": {"vocabulary": 30_000, "buckets": 2**20, "rows": 125_000},
    "small": {"vocabulary": 30_000, "buckets": 2**19, "rows": 36_000},
}
TIMED, ROUNDS, IN_A_ROW = 100, 3, 20
"""Texts, and how often they are read. The models take turns after so many texts, since one call of
the teacher's would leave a student's table outside of the CPU's caches."""


def accuracy(file: Path, artifact: Artifact, context: Context) -> float:
    """Fraction of the test split's labels that a file's likeliest class is."""
    opened, right, count = session(file, threads=1), 0, 0
    loader = context.data.loader("test", artifact.require_preprocessor(), batch_size=64)
    for batch in loader:
        said = next(iter(run(opened, batch).values())).argmax(-1)
        right += int((said == batch[LABELS].numpy()).sum())
        count += len(said)
    return right / count


def student(
    given: argparse.Namespace, size: str, seed: int, artifact: Artifact, context: Context
) -> tuple[Artifact, Path]:
    """A trained student and its file in 8 bits."""
    folder = context.directory / f"{size}-{seed}"
    folder.mkdir()
    distil = Distill.model_validate(
        {
            "student": {"ngrams": {"pieces": [1, 2], "start": "linear", **SIZES[size]}},
            "teacher": {
                "models": given.teachers,
                "cache": {} if "reference" in given.teachers else None,
            },
            "losses": {
                "response": {"temperature": given.temperature, "weight": given.weight},
                "labels": {"weight": 1 - given.weight} if given.weight < 1 else None,
            },
            "training": {
                "epochs": given.epochs,
                "batch_size": 128,
                "learning_rate": given.rate,
                "weight_decay": 0.0,
                "precision": "bf16",
            },
        }
    )
    trained = distil.apply(artifact, replace(context, directory=folder, seed=seed))
    for note in trained.notes if given.notes else ():
        print(f"  {note}")
    kept = replace(context, directory=folder)
    return trained, Quantize(method="storage").apply(trained, kept).require_onnx()


def speedups(files: dict[str, tuple[Artifact, Path]], texts: list[str]) -> dict[str, float]:
    """Median milliseconds of CPU time from one text to its answer, in turns."""
    calls = {}
    for name, (artifact, file) in files.items():
        given = artifact.require_preprocessor()
        calls[name] = (session(file, threads=1), text_reader(given.tokenizer, given.max_length))
    times: dict[str, list[float]] = {name: [] for name in [*files, *(f"{n}, read" for n in files)]}
    for start in [at for _ in range(ROUNDS) for at in range(0, len(texts), IN_A_ROW)]:
        for name, (opened, read) in calls.items():
            for text in texts[start : start + IN_A_ROW]:
                begun = time.process_time()
                inputs: Any = read([text])
                half = time.process_time()
                opened.run(None, feed(opened, inputs))
                times[name].append(time.process_time() - begun)
                times[f"{name}, read"].append(half - begun)
    return {name: 1000 * float(np.median(found)) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--teachers", nargs="+", default=["reference", "baseline"])
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--weight", type=float, default=0.7)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--notes", action="store_true")
    given = parser.parse_args()
    print(f"{cpu_name()}; {' and '.join(given.teachers)}, {given.epochs} epochs at {given.rate:g}")
    splits = ("train", "validation", "test")
    data = {
        "huggingface": "parquet",
        "files": {split: str(given.data / f"{split}.parquet") for split in splits},
        "max_length": given.length,
    }
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        artifact, context = compress.load(
            {"transformers": given.model},
            "text-classification",
            data,
            directory=scratch / "distill",
            threads=1,
        )
        context = replace(context, shared=given.work or scratch)
        files = {"teacher": (artifact, scratch / "teacher.onnx")}
        export_artifact(artifact, context, scratch / "teacher.onnx", samples=4)
        for size in given.sizes:
            found = []
            for seed in range(given.seeds):
                files[size] = student(given, size, seed, artifact, context)
                found.append(accuracy(files[size][1], files[size][0], context))
            said = ", ".join(f"{one:.2%}" for one in found)
            megabytes = files[size][1].stat().st_size / 1e6
            print(f"{size}: {megabytes:.2f} MB, mean {np.mean(found):.2%} ({said})", flush=True)
        texts = pandas.read_parquet(given.data / "test.parquet")["text"][:TIMED].tolist()
        times = speedups(files, texts)
    for name, milliseconds in times.items():
        ratio = times["teacher"] / milliseconds
        print(f"{name}: {milliseconds:.3f} ms of CPU time a text, {ratio:.1f}x")


if __name__ == "__main__":
    main()
