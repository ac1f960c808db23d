"""Whether latency intervals hold: one file against itself, and against one that is 1.3x faster.

The 95 % interval of the ratio of a file to itself should hold 1 in about 19 of 20 runs, and a model
of 10 convolutions should always be found faster than one of 13 of the same. Both are tried on a
machine left alone, while another process computes on another core, and while one computes on each.
In each run the file and its copy also answer a new test set, on which McNemar's test should see no
difference.

    python benchmarks/measurement.py [--runs 20] [--seconds 2]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from compress.measurement.latency.measure import measure_latency
from compress.measurement.paired.difference import difference
from compress.measurement.quality import measure_answers
from compress.measurement.spec import MeasureSpec
from compress.tasks.task import TASKS

CHANNELS, SIDE = 32, 16
BURNER = """
import os, sys
parent = os.getppid()
os.sched_setaffinity(0, {int(sys.argv[1])})
while os.getppid() == parent:
    pass
"""
SAMPLES = 500
SETTLE = 1.0
"""Seconds after which a process that burns a core is at it."""


def write_chain(layers: int, path: Path) -> Path:
    """Write a model of so many convolutions of one size, each as much work as another."""
    generator = np.random.default_rng(layers)
    nodes, weights, last = [], [], "x"
    for number in range(layers):
        values = generator.standard_normal((CHANNELS, CHANNELS, 3, 3)) / 20
        weights.append(numpy_helper.from_array(values.astype(np.float32), f"w{number}"))
        pads = [1, 1, 1, 1]
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], pads=pads))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        last = f"r{number}"
    shape = ["N", CHANNELS, SIDE, SIDE]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", last)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
    return path


@contextmanager
def burning(cpus: list[int]) -> Iterator[None]:
    """Let a process compute without end on each of these CPUs."""
    burners = [subprocess.Popen([sys.executable, "-c", BURNER, str(cpu)]) for cpu in cpus]
    time.sleep(SETTLE if burners else 0)
    try:
        yield
    finally:
        for each in burners:
            each.kill()
            each.wait()


def main() -> None:
    """Print a table: a row for each state of the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    states = {"left alone": [], "one core burning": cpus[-1:], "all cores burning": cpus}
    print(
        f"| machine | 1 in the interval of A/A | half width | no difference seen "
        f"| 13 / 10 found faster | its speedup | seconds a run | others' CPU time |\n|{'---|' * 8}"
    )
    with tempfile.TemporaryDirectory() as folder:
        ten, copy, thirteen = (
            write_chain(layers, Path(folder) / name)
            for layers, name in ((10, "a.onnx"), (10, "copy.onnx"), (13, "slow.onnx"))
        )
        for state, burnt in states.items():
            with burning(burnt):
                print(line(state, {"this": ten, "same": copy, "slow": thirteen}, given), flush=True)


def line(state: str, models: dict[str, Path], given: argparse.Namespace) -> str:
    """Return the table's row of so many runs."""
    inputs = np.random.default_rng(0).standard_normal((1, CHANNELS, SIDE, SIDE), dtype=np.float32)
    spec = MeasureSpec(batch_sizes=(1,), seconds=given.seconds)
    holds, alike, found, widths, ratios, seconds, others = 0, 0, 0, [], [], [], []
    for run in range(given.runs):
        times = measure_latency(models, {1: {"x": inputs}}, spec=spec, seed=run)
        _, (low, high) = times.speedup(1, "this", over="same")
        ratio, (slowest, _) = times.speedup(1, "this", over="slow")
        holds += low <= 1 <= high
        found += slowest > 1
        alike += verdict(models["this"], models["same"], seed=run) == "no difference seen"
        widths.append(np.sqrt(high / low) - 1)
        ratios.append(ratio)
        conditions = times.conditions
        assert conditions is not None
        seconds.append(conditions.seconds)
        others.append(conditions.busy_during or 0.0)
    cells = [
        state,
        f"{holds} of {given.runs}",
        f"±{np.median(widths):.1%}",
        f"{alike} of {given.runs}",
        f"{found} of {given.runs}",
        f"{np.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})",
        f"{np.mean(seconds):.1f}",
        f"{np.mean(others):.0%}",
    ]
    return f"| {' | '.join(cells)} |"


def verdict(this: Path, other: Path, *, seed: int) -> str:
    """Return what a paired test says of two files on a new test set.

    The labels are the first file's classes, of which one in five is changed.
    """
    generator = np.random.default_rng(seed)
    images = generator.standard_normal((SAMPLES, CHANNELS, SIDE, SIDE), dtype=np.float32)
    scores = [scores_of(path, images) for path in (this, other)]
    labels = scores[0].argmax(1)
    labels = np.where(generator.random(SAMPLES) < 0.2, (labels + 1) % CHANNELS, labels)
    ours, theirs = (
        measure_answers(
            lambda batch: batch["scores"],
            loader=[{"scores": given, "labels": labels}],
            metric="accuracy",
            task=TASKS["image-classification"],
            labels=[str(number) for number in range(CHANNELS)],
            test_data=str(seed),
        )
        for given in scores
    )
    return difference(ours, theirs).verdict


def scores_of(path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return one score for each channel, (N, CHANNELS)."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    scores: NDArray[np.float32] = session.run(None, {"x": images})[0].mean((2, 3))
    return scores


if __name__ == "__main__":
    main()
