"""Is a CNN faster with only some of its layers in 8 bits? Mixed precision by speed, tried.

    python benchmarks/float_layers.py MODEL.onnx [MODEL.onnx …] [--batches 1 8] [--rounds 25]

Prints, for each float file of one image input, how much faster than float it is with all layers in
8 bits; with depthwise convolutions in float; and with only convolutions and matmuls in 8 bits,
without the sums and poolings between them. Ratios of medians of interleaved rounds on one thread,
by its own clock. Ranges are those of random inputs, so that answers mean nothing here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from compress.measurement.cpu import this_cpu
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attribute
from compress.quantization.cpu import integers_for
from compress.quantization.selection import Selection, select
from compress.quantization.static import activations, quantize_static

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
READERS = ("Relu", "Clip")


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options)


def inputs_of(path: Path, batch: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    (given,) = session(path).get_inputs()
    shape = [batch, *(size if isinstance(size, int) else 64 for size in given.shape[1:])]
    return {given.name: random.standard_normal(shape, np.float32)}


def ranges_of(path: Path, graph: Graph, inputs: dict[str, np.ndarray]) -> dict[str, tuple]:
    wanted = activations(graph, select(graph, method="static"))
    model = onnx.load(path)
    inner = [name for name in wanted if name not in inputs]
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in inner if name not in graph.outputs
    )
    found = dict(
        zip(
            inner,
            onnxruntime.InferenceSession(model.SerializeToString()).run(inner, inputs),
            strict=True,
        )
    )
    found |= inputs
    return {name: (float(found[name].min()), float(found[name].max())) for name in wanted}


def alone(graph: Graph, names: Sequence[str]) -> list[str]:
    """Layers with the activations that read them, which would otherwise be alone in 8 bits."""
    found = [graph.named(name) for name in names]
    after = [r.name for n in found if n for r in graph.readers(n.output[0]) if r.op_type in READERS]
    return [*names, *after]


def choices(graph: Graph, whole: Selection) -> dict[str, Selection]:
    layers = [node for node in graph.nodes if node.op_type in PRODUCTS]
    depthwise = [node.name for node in layers if attribute(node, "group", 1) > 1]
    products = [node.name for node in graph.nodes if node.op_type in (*PRODUCTS, *READERS)]
    return {
        "all in 8 bits": whole,
        f"{len(depthwise)} depthwise in float": whole.without(alone(graph, depthwise)),
        "products alone": whole.only(products),
    }


def timed(files: dict[str, Path], inputs: dict[str, np.ndarray], rounds: int) -> dict[str, float]:
    sessions = {name: session(path) for name, path in files.items()}
    times: dict[str, list[int]] = {name: [] for name in sessions}
    random = np.random.default_rng(0)
    for count in range(rounds + 2):
        for name in random.permutation(list(sessions)):
            start = time.thread_time_ns()
            sessions[name].run(None, inputs)
            if count >= 2:
                times[name].append(time.thread_time_ns() - start)
    whole = np.median(times["float"])
    return {name: float(whole / np.median(each)) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=25)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    here = this_cpu()
    integers = integers_for(here.target, method="static")[0]
    print(f"{here}, ONNX Runtime {onnxruntime.__version__}, {integers}\n")
    for model in given.models:
        graph = load_graph(model)
        whole = select(graph, method="static")
        ranges = ranges_of(model, graph, inputs_of(model, 4, random))
        with tempfile.TemporaryDirectory() as folder:
            files = {"float": model}
            for number, (what, selection) in enumerate(choices(graph, whole).items()):
                files[what] = Path(folder) / f"{number}.onnx"
                quantize_static(
                    model, path=files[what], selection=selection, ranges=ranges, integers=integers
                )
            for batch in given.batches:
                found = timed(files, inputs_of(model, batch, random), given.rounds)
                words = ", ".join(f"{what} {ratio:.2f}x" for what, ratio in found.items())
                print(f"- {model}, batch {batch}: {words}")


if __name__ == "__main__":
    main()
