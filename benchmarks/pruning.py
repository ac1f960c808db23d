"""What pruning costs and gains, through the runner: every figure is of a run's own report.

    python benchmarks/pruning.py images --model STAGE --data FOLDER --results OUT
    python benchmarks/pruning.py texts --model MODEL --data FOLDER --results OUT
    python benchmarks/pruning.py table --results OUT
    python benchmarks/pruning.py same --model MODEL --data FOLDER --results OUT

`images`: STAGE is the folder of a trained ResNet, such as `01-train` of a run of
`recipes/fashion-mnist.yaml`, FOLDER has the data's IDX files. `texts`: MODEL is a folder of a
fine-tuned BERT-type classifier, FOLDER holds train, validation and test as parquet. `--only` names
some of a study's runs. `same` counts the test rows to which the run `vocabulary` gives the class
that the whole model gives. Every run is a folder of OUT, with its report; what is finished there
isn't done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import compress
from compress.runner.folder.workdir import Workdir

RESNET = {"blocks": [2, 2, 2, 2], "width": 32, "in_channels": 1, "num_classes": 10}
SEEDS = (0, 1, 2)
Runs = dict[str, tuple[int, list[dict[str, Any]]]]
"""Seed and stages by the run's name."""


def image_runs() -> Runs:
    """Half and a quarter of the MACs, over seeds, and a little less; half of the latency."""

    def prune(epochs: int, **target: float) -> dict[str, Any]:
        losses = {"response": {"temperature": 4.0, "weight": 0.9}, "labels": {"weight": 0.1}}
        training = {
            "epochs": epochs, "batch_size": 128, "optimizer": "sgd", "learning_rate": 0.05,
            "weight_decay": 5e-4, "schedule": "cosine", "precision": "bf16",
            "augment": {"crop": 2, "flip": True},
        }  # fmt: skip
        recovery = {"losses": losses, "training": training}
        return {"use": "prune", "target": target, "recovery": recovery}

    runs: Runs = {}
    for seed in SEEDS:
        runs[f"macs-0.5-seed{seed}"] = seed, [prune(4, macs=0.5)]
        runs[f"macs-0.25-seed{seed}"] = seed, [prune(4, macs=0.25)]
    # A target is met within 2 %: these two leave no doubt on which side of 2x and 4x they are.
    runs["macs-0.49"] = 0, [prune(4, macs=0.49)]
    runs["macs-0.245"] = 0, [prune(4, macs=0.245)]
    runs["latency-0.5"] = 0, [prune(2, latency=0.5)]
    return runs


def text_runs() -> Runs:
    """Width, depth, vocabulary and low rank, each from the whole model."""
    losses = {"response": {"temperature": 2.0, "weight": 0.7}, "labels": {"weight": 0.3}}

    def recovery(epochs: int) -> dict[str, Any]:
        training = {"epochs": epochs, "learning_rate": 2e-4, "precision": "bf16"}
        return {"losses": losses, "training": training, "teacher": {"cache": {}}}

    def prune(epochs: int, **target: float) -> dict[str, Any]:
        fields = {"target": target, "importance": "taylor", "recovery": recovery(epochs)}
        return {"use": "prune", **fields}

    def low_rank(method: str) -> dict[str, Any]:
        return {"use": "low_rank", "method": method, "ratio": 0.5}

    return {
        "macs-0.5": (0, [prune(2, macs=0.5)]),
        "latency-0.5": (0, [prune(1, latency=0.5)]),
        "depth-3": (0, [{"use": "depth", "layers": 3, "recovery": recovery(1)}]),
        "vocabulary": (0, [{"use": "vocabulary"}]),
        **{
            f"low_rank-{method}-{name}": (0, [low_rank(method) | {"recovery": after}])
            for method in ("svd", "activation")
            for name, after in (("cut", None), ("recovered", recovery(1)))
        },
    }


def recipe(kind: str, *, model: Path, data: Path) -> dict[str, Any]:
    """All of a recipe but its name, seed and stages."""
    measure = {"batch_sizes": [1, 32], "threads": 1}
    if kind == "images":
        return {
            "model": {
                "python": "compress.models.resnet:resnet",
                "arguments": RESNET,
                "weights": str(model / "checkpoint.safetensors"),
            },
            "task": "image-classification",
            "data": {"idx": str(data), "image": {"mean": [0.286], "std": [0.353]}},
            "measure": measure,
        }
    files = {name: str(data / f"{name}.parquet") for name in ("train", "validation", "test")}
    return {
        "model": {"transformers": str(model)},
        "task": "text-classification",
        "data": {"huggingface": "parquet", "files": files, "max_length": 64},
        "measure": measure,
    }


def study(kind: str, *, model: Path, data: Path, results: Path, only: str) -> None:
    """Run what isn't finished."""
    from ruamel.yaml import YAML

    results.mkdir(parents=True, exist_ok=True)
    base = recipe(kind, model=model, data=data)
    for name, (seed, stages) in (image_runs() if kind == "images" else text_runs()).items():
        if not fnmatchcase(name, only):
            continue
        path = results / f"{name}.yaml"
        with path.open("w", encoding="utf-8") as file:
            YAML().dump({"version": 1, "name": name, "seed": seed, **base, "stages": stages}, file)
        report = compress.run(path, output=begun(results, name), threads=1)
        print(name, report.stages[-1].quality.value, flush=True)


def begun(results: Path, name: str) -> Path:
    """A run's folder with the teacher's answers that another one of the study has kept."""
    workdir = Workdir(results / name)
    if not workdir.root.exists():
        others = sorted(results.glob("*/stages/shared/teacher"))
        with workdir.open():
            if others:
                shutil.copytree(others[0], workdir.shared / "teacher")
    return workdir.root


def table(results: Path) -> None:
    """The last row of every run against its first, as Markdown."""
    head = (
        "run", "params", "MACs", "MACs less", "size", "quality", "points", "batch 1", "batch 32",
    )  # fmt: skip
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for path in sorted(results.glob("*/report.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["status"] != "passed":
            continue
        first, last = report["stages"][0], report["stages"][-1]
        speedups = [
            f"{found['vs_original']:.2f}x {found['ci95'][0]:.2f}-{found['ci95'][1]:.2f}"
            for found in (last["speedup"]["1"], last["speedup"]["32"])
        ]
        cells = (
            path.parent.name,
            f"{last['params'] / 1e6:.2f} M",
            f"{last['macs'] / 1e6:.1f} M",
            f"{first['macs'] / last['macs']:.2f}x",
            f"{last['size_bytes'] / 1e6:.1f} MB",
            f"{last['quality']['value']:.4f}",
            f"{100 * last['delta']['quality']:+.2f}",
            *speedups,
        )
        print(f"| {' | '.join(cells)} |")


def same(*, model: Path, data: Path, results: Path) -> None:
    """Compare the model with trimmed vocabulary to the whole one, row by row, in torch."""
    import torch

    from compress.core.batch import model_inputs
    from compress.data.dataset import load_data
    from compress.data.preprocess import load_preprocessor
    from compress.data.spec import DataSpec
    from compress.models.checkpoint import load_checkpoint
    from compress.tasks.task import task as find_task

    torch.set_num_threads(1)
    task = find_task("text-classification")
    spec = DataSpec.model_validate(recipe("texts", model=model, data=data)["data"])
    stages = results / "vocabulary" / "stages"
    answers = []
    for folder, tokenizer in (
        ("00-original", model),
        ("01-vocabulary", stages / "01-vocabulary" / "preprocessor"),
    ):
        module, _ = load_checkpoint(stages / folder)
        names = module.config.id2label
        labels = tuple(names[index] for index in sorted(names))
        preprocessor = load_preprocessor(str(tokenizer), task=task, spec=spec)
        loader = load_data(spec, task=task, labels=labels, seed=0).loader(
            "test", preprocessor, batch_size=64
        )
        with torch.no_grad():
            answers.append(
                torch.cat([task.logits(module, model_inputs(batch)) for batch in loader])
            )
    whole, trimmed = answers
    equal = int((whole.argmax(1) == trimmed.argmax(1)).sum())
    largest = float((whole - trimmed).abs().max())
    print(
        f"{equal} of {len(whole)} rows have the same class; logits differ by at most {largest:.2g}"
    )


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("images", "texts", "table", "same"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--only", default="*")
    given = parser.parse_args()
    if given.kind == "table":
        table(given.results)
    elif given.kind == "same":
        same(model=given.model, data=given.data, results=given.results)
    else:
        study(
            given.kind,
            model=given.model,
            data=given.data,
            results=given.results,
            only=given.only,
        )


if __name__ == "__main__":
    main()
