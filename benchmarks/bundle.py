"""Compares a run's bundle with its report, with nothing but the bundle's own example script.

    python benchmarks/bundle.py RUN --parquet test.parquet     # columns text and label
    python benchmarks/bundle.py RUN --idx FOLDER               # t10k-images / t10k-labels

Prints the accuracy that `infer.py` reaches on all test samples beside the report's, and the bytes
of the original and the final model with and without embeddings (weights that Gather reads).
"""

import argparse
import importlib.util
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx

BATCH = 32


def load_script(run: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("infer", run / "infer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_samples(path: Path) -> Iterator[tuple[Sequence[Any], Sequence[str]]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["text", "label"]).to_pydict()
    for start in range(0, len(table["text"]), BATCH):
        yield table["text"][start : start + BATCH], table["label"][start : start + BATCH]


def image_samples(folder: Path) -> Iterator[tuple[Sequence[Any], Sequence[str]]]:
    from PIL import Image

    from compress.data.sources.idx import read_split

    images, labels = read_split(
        next(folder.glob("t10k-images*")), next(folder.glob("t10k-labels*"))
    )
    with tempfile.TemporaryDirectory() as place:
        for start in range(0, len(images), BATCH):
            paths = []
            for index, image in enumerate(images[start : start + BATCH]):
                paths.append(str(Path(place) / f"{index}.png"))
                Image.fromarray(image).save(paths[-1])
            yield paths, [str(label) for label in labels[start : start + BATCH]]


def accuracy(run: Path, samples: Iterator[tuple[Sequence[Any], Sequence[str]]]) -> float:
    script = load_script(run)
    names = np.array(json.loads((run / "labels.json").read_text()))
    right = total = 0
    for raw, wanted in samples:
        answers = names[script.predict(script.preprocess(raw)).argmax(-1)]
        right += int((answers == np.array(wanted)).sum())
        total += len(wanted)
    return right / total


def embedding_bytes(path: Path) -> int:
    model = onnx.load(str(path))
    read = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    # A quantized embedding may be dequantized before or after it is read.
    read |= {
        node.input[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.output[0] in read
    }
    return sum(len(w.raw_data) for w in model.graph.initializer if w.name in read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--parquet", type=Path)
    parser.add_argument("--idx", type=Path)
    given = parser.parse_args()
    samples = text_samples(given.parquet) if given.parquet else image_samples(given.idx)
    report = json.loads((given.run / "report.json").read_text())
    print(f"accuracy by infer.py  {accuracy(given.run, samples):.6f}")
    print(f"accuracy in report    {report['stages'][-1]['quality']['value']:.6f}")
    sizes = {}
    for name, path in (
        ("original", given.run / "stages" / "00-original" / "model.onnx"),
        ("final", given.run / "model.onnx"),
    ):
        sizes[name] = path.stat().st_size, path.stat().st_size - embedding_bytes(path)
        print(f"{name:9} {sizes[name][0]:>11,} bytes, {sizes[name][1]:>11,} without embeddings")
    whole, rest = (a / b for a, b in zip(sizes["original"], sizes["final"], strict=True))
    print(f"smaller   {whole:.2f}x, {rest:.2f}x without embeddings")


if __name__ == "__main__":
    main()
