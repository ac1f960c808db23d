"""ONNX Runtime's 8-bit kernels on this CPU: each form of an operator against the same in float.

    python benchmarks/kernels.py [--rounds 15] [--only matmul]

A file holds three equal layers in a row, with random weights: matmuls with a bias, or convolutions
with ReLU, so that 8-bit activations pass from one to the next where a form allows it. Prints for
each size how much faster a form is than float: the ratio of the medians of interleaved rounds, on
one thread, by the thread's own clock.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from compress.measurement.cpu import this_cpu
from compress.onnx_graph.files import load_graph
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.integers import Integers
from compress.quantization.selection import select
from compress.quantization.static import activations, quantize_static
from compress.quantization.static_scales import fix_scales
from compress.quantization.storage.store import store_weights
from compress.quantization.weight_only.graph import WeightOnly
from compress.quantization.weight_only.quantize import quantize_weights

LAYERS = 3
U8S8, U8S7 = Integers("uint8", "int8"), Integers("uint8", "int8", reduce_range=True)
U8U8, S8S8 = Integers("uint8", "uint8"), Integers("int8", "int8")
MATMULS = [(rows, width) for width in (128, 384, 768) for rows in (1, 64, 1024)]
CONVOLUTIONS = [
    (batch, channels, size, kernel, groups)
    for channels, size, kernel, groups in (
        (32, 28, 3, 1), (128, 14, 3, 1), (256, 14, 1, 1), (256, 14, 3, 256), (96, 56, 3, 96),
    )
    for batch in (1, 8)
]  # fmt: skip


def saved(path: Path, nodes: list[Any], shape: list[Any], weights: dict[str, np.ndarray]) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *shape])
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "layers", [x], [y], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def names(layer: int) -> tuple[str, str]:
    return ("x" if layer == 0 else f"h{layer}", "y" if layer == LAYERS - 1 else f"h{layer + 1}")


def matmuls(path: Path, width: int, random: np.random.Generator) -> Path:
    nodes, weights = [], {}
    for layer in range(LAYERS):
        given, made = names(layer)
        weights[f"w{layer}"] = random.standard_normal((width, width), np.float32) / width**0.5
        weights[f"b{layer}"] = random.standard_normal(width, np.float32)
        nodes += [
            helper.make_node("MatMul", [given, f"w{layer}"], [f"m{layer}"], name=f"matmul{layer}"),
            helper.make_node("Add", [f"m{layer}", f"b{layer}"], [made], name=f"add{layer}"),
        ]
    return saved(path, nodes, ["rows", width], weights)  # two axes would be fused into Gemm


def convolutions(
    path: Path, channels: int, size: int, kernel: int, groups: int, random: np.random.Generator
) -> Path:
    nodes, weights = [], {}
    for layer in range(LAYERS):
        given, made = names(layer)
        shape = (channels, channels // groups, kernel, kernel)
        fan = shape[1] * kernel**2
        weights[f"w{layer}"] = random.standard_normal(shape, np.float32) * (2 / fan) ** 0.5
        weights[f"b{layer}"] = random.standard_normal(channels, np.float32) * 0.1
        inputs = [given, f"w{layer}", f"b{layer}"]
        nodes += [
            helper.make_node(
                "Conv", inputs, [f"c{layer}"], name=f"conv{layer}", group=groups,
                pads=[kernel // 2] * 4, kernel_shape=[kernel, kernel],
            ),
            helper.make_node("Relu", [f"c{layer}"], [made], name=f"relu{layer}"),
        ]  # fmt: skip
    return saved(path, nodes, [channels, size, size], weights)


def observed(source: Path, inputs: np.ndarray) -> dict[str, tuple[float, float]]:
    """Least and largest value of each activation on the inputs."""
    graph = load_graph(source)
    wanted = activations(graph, select(graph, method="static"))
    model = onnx.load(source)
    inner = [name for name in wanted if name not in ("x", "y")]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = dict(zip(inner, session.run(inner, {"x": inputs}), strict=True))
    found |= {"x": inputs, "y": session.run(["y"], {"x": inputs})[0]}
    return {name: (float(found[name].min()), float(found[name].max())) for name in wanted}


def static(
    source: Path, path: Path, ranges: Any, integers: Integers, form: str, per_channel: bool = True
) -> None:
    quantize_static(
        source,
        path=path,
        selection=select(load_graph(source), method="static", per_channel=per_channel),
        ranges=ranges,
        integers=integers,
        per_channel=per_channel,
        quant_format=form,  # type: ignore[arg-type]
    )


def dynamic(source: Path, path: Path, integers: Integers, per_channel: bool = True) -> None:
    selection = select(load_graph(source), method="dynamic", per_channel=per_channel)
    quantize_dynamic(
        source, path=path, selection=selection, integers=integers, per_channel=per_channel
    )


def static_scales(source: Path, path: Path, ranges: Any, integers: Integers) -> None:
    dynamic(source, path, integers)
    fix_scales(path, path=path, ranges=ranges)


def weight_only(source: Path, path: Path, bits: Any, level: Any) -> None:
    quantize_weights(source, path=path, options=WeightOnly(bits=bits, accuracy_level=level))


def matmul_forms(source: Path, ranges: Any) -> dict[str, Any]:
    return {
        "dynamic U8S8": partial(dynamic, source, integers=U8S8),
        "dynamic U8S8, 7 bits": partial(dynamic, source, integers=U8S7),
        "dynamic U8U8": partial(dynamic, source, integers=U8U8),
        "the same per tensor": partial(dynamic, source, integers=U8U8, per_channel=False),
        "static scales U8S8, 7 bits": partial(static_scales, source, ranges=ranges, integers=U8S7),
        "static scales U8U8": partial(static_scales, source, ranges=ranges, integers=U8U8),
        "QDQ U8S8, 7 bits": partial(static, source, ranges=ranges, integers=U8S7, form="qdq"),
        "QDQ U8U8": partial(static, source, ranges=ranges, integers=U8U8, form="qdq"),
        "QDQ S8S8": partial(static, source, ranges=ranges, integers=S8S8, form="qdq"),
        "8-bit weights, level 1": partial(weight_only, source, bits=8, level=1),
        "8-bit weights, level 4": partial(weight_only, source, bits=8, level=4),
        "4-bit weights, level 1": partial(weight_only, source, bits=4, level=1),
        "4-bit weights, level 4": partial(weight_only, source, bits=4, level=4),
        "storage 8": lambda path: store_weights(source, path=path),
        "storage 16": lambda path: store_weights(source, path=path, bits=16),
    }


def convolution_forms(source: Path, ranges: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for form, word in (("qdq", "QDQ"), ("qoperator", "QOperator")):
        for integers, said in (
            (U8S8, "U8S8"), (U8S7, "U8S8, 7 bits"), (U8U8, "U8U8"), (S8S8, "S8S8"),
        ):  # fmt: skip
            found[f"{word} {said}"] = partial(
                static, source, ranges=ranges, integers=integers, form=form
            )
    found["QDQ U8S8, 7 bits, per tensor"] = partial(
        static, source, ranges=ranges, integers=U8S7, form="qdq", per_channel=False
    )
    found["storage 8"] = lambda path: store_weights(source, path=path)
    found["storage 16"] = lambda path: store_weights(source, path=path, bits=16)
    return found


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options)


def speedups(sessions: dict[str, Any], inputs: np.ndarray, rounds: int) -> dict[str, float]:
    """Median time of "float" divided by that of each, in rounds of several calls."""
    times: dict[str, list[int]] = {name: [] for name in sessions}
    start = time.thread_time_ns()
    for _ in range(3):
        sessions["float"].run(None, {"x": inputs})
    calls = max(1, int(3e6 / max(1, (time.thread_time_ns() - start) / 3)))
    random = np.random.default_rng(0)
    for count in range(rounds + 2):
        for name in random.permutation(list(sessions)):
            start = time.thread_time_ns()
            for _ in range(calls):
                sessions[name].run(None, {"x": inputs})
            if count >= 2:
                times[name].append(time.thread_time_ns() - start)
    whole = np.median(times["float"])
    return {name: float(whole / np.median(each)) for name, each in times.items()}


def cases(folder: Path, random: np.random.Generator) -> Iterator[tuple[str, str, Path, Any]]:
    """Kind, size, file and inputs of each case."""
    for rows, width in MATMULS:
        path = matmuls(folder / f"matmul{width}.onnx", width, random)
        yield "matmul", f"{rows} x {width} x {width}", path, (1, rows, width)
    for batch, channels, size, kernel, groups in CONVOLUTIONS:
        path = convolutions(folder / "conv.onnx", channels, size, kernel, groups, random)
        depth = "depthwise " if groups > 1 else ""
        words = f"{depth}{kernel} x {kernel}, {channels} channels, {size} x {size}, batch {batch}"
        yield "convolution", words, path, (batch, channels, size, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=("matmul", "convolution"))
    given = parser.parse_args()
    random = np.random.default_rng(0)
    print(f"{this_cpu()}, ONNX Runtime {onnxruntime.__version__}\n")
    tables: dict[str, dict[str, dict[str, float]]] = {"matmul": {}, "convolution": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, size, source, shape in cases(folder, random):
            if given.only not in (None, kind):
                continue
            inputs = random.standard_normal(shape, np.float32)
            ranges = observed(source, inputs)
            forms = (matmul_forms if kind == "matmul" else convolution_forms)(source, ranges)
            sessions = {"float": session(source)}
            for number, (form, make) in enumerate(forms.items()):
                path = folder / f"{number}.onnx"
                make(path=path)
                sessions[form] = session(path)
            tables[kind][size] = speedups(sessions, inputs, given.rounds)
    for kind, table in tables.items():
        if not table:
            continue
        sizes = list(table)
        print(f"| {kind} | {' | '.join(sizes)} |\n| --- {'| --- ' * len(sizes)}|")
        for form in next(iter(table.values())):
            print(f"| {form} | {' | '.join(f'{table[size][form]:.2f}x' for size in sizes)} |")
        print()


if __name__ == "__main__":
    main()
