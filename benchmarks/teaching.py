"""Does a teacher teach? Every loss, on images and on texts, over several seeds.

    python benchmarks/teaching.py images --teacher exports/fashion-mnist/stages/01-train \
        --data /usr/share/datasets/fashion-mnist --results images.jsonl
    python benchmarks/teaching.py texts --teacher MODEL --data FOLDER --results texts.jsonl
    python benchmarks/teaching.py table --results images.jsonl

`images`: the teacher is a stage's folder of `recipes/fashion-mnist.yaml`, the student a small CNN
that learns from 3,000 images. `texts`: the teacher is a folder of a fine-tuned BERT-type
classifier; FOLDER holds train, validation and test as parquet; the student is three of the
teacher's layers, which learn from 1,500 rows of at most 32 tokens. Each line of RESULTS is one
training; what is there isn't trained again. Accuracy is of the test split, by the torch module in
fp32.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

SEEDS = (0, 1, 2)
LABELS = {"weight": 1.0}
IMAGE_PAIR = [{"student": "body", "teacher": "stages.3"}]


def small_cnn() -> Any:
    """Three convolutions, 14,000 parameters: (N, 1, 28, 28) to (N, 10)."""
    from collections import OrderedDict

    from torch import nn

    channels = (1, 16, 32, 32)
    body: list[nn.Module] = []
    for inputs, outputs, stride in zip(channels, channels[1:], (2, 2, 1), strict=False):
        convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        body += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], 10))
    return nn.Sequential(OrderedDict(body=nn.Sequential(*body), head=head))


def only(**losses: Any) -> dict[str, Any]:
    """Labels, and what is given, without the response loss that is there by default."""
    return {"response": None, "labels": LABELS, **losses}


def losses_of(kind: str) -> dict[str, dict[str, Any]]:
    """The losses under test, by name."""
    layers = {"layers": IMAGE_PAIR} if kind == "images" else {}
    response = {"temperature": 4.0, "weight": 0.7}
    found: dict[str, dict[str, Any]] = {"labels only": only()}
    for temperature in (1.0, 2.0, 4.0, 8.0):
        found[f"response, T {temperature:g}"] = {
            "response": {**response, "temperature": temperature},
            "labels": {"weight": 0.3},
        }
    standardized = {**response, "logit_standardization": True}
    found["response, standardized, T 4"] = {"response": standardized, "labels": {"weight": 0.3}}
    decoupled = {**response, "weight": 0.1, "decoupled": {"alpha": 1.0, "beta": 8.0}}
    found["response, decoupled, T 4"] = {"response": decoupled, "labels": {"weight": 1.0}}
    found["feature + labels"] = only(feature={"weight": 1.0, **layers})
    for name, weight in (
        ("cosine", 10.0),
        ("similarity", 100.0),
        ("distance", 1.0),
        ("angle", 2.0),
    ):
        found[f"relation.{name} + labels"] = only(relation={name: weight})
    combined: dict[str, Any] = {"response": {**response, "temperature": 2.0}}
    combined |= {"labels": {"weight": 0.3}, "relation": {"cosine": 1.0}}
    if kind == "images":
        transfer = {"transfer": 100.0, **layers}
        found["attention.transfer + labels"] = only(attention=transfer)
        found["combined"] = {**combined, "attention": {"transfer": 10.0, **layers}}
    else:
        found["attention.maps + labels"] = only(attention={"maps": 1.0, "layers": "uniform"})
        minilm = {"queries_keys": 1.0, "values": 1.0}
        found["attention.queries_keys + values + labels"] = only(attention=minilm)
        found["combined"] = {**combined, "feature": {"weight": 0.1}}
    return found


def problem(kind: str, *, teacher: Path, data: Path, folder: Path) -> tuple[Any, Any]:
    """The teacher as an artifact, and the context of its students."""
    from compress.core.artifact import Artifact, Format
    from compress.core.context import Context
    from compress.data.dataset import load_data
    from compress.data.preprocess import load_preprocessor
    from compress.data.spec import DataSpec
    from compress.models.checkpoint import load_checkpoint
    from compress.models.load import load_model
    from compress.models.spec import ModelSpec
    from compress.tasks.task import task as find_task

    if kind == "images":
        task = find_task("image-classification")
        spec = DataSpec.model_validate(
            {
                "idx": data,
                "image": {"mean": [0.286], "std": [0.353]},
                "limit": {"train": 3000, "validation": 500},
            }
        )
        module, source = load_checkpoint(teacher)
        labels, model_folder = tuple(map(str, range(10))), None
    else:
        task = find_task("text-classification")
        files = {name: data / f"{name}.parquet" for name in ("train", "validation", "test")}
        limit = {"train": 1500, "validation": 500, "test": 2500}
        spec = DataSpec.model_validate(
            {"huggingface": "parquet", "files": files, "limit": limit, "max_length": 32}
        )
        loaded = load_model(ModelSpec(transformers=str(teacher)), task=task, seed=0)
        module, source = loaded.module, loaded.source
        labels, model_folder = loaded.labels, loaded.folder
    artifact = Artifact(
        Format.TORCH,
        module.eval(),
        source,
        preprocessor=load_preprocessor(model_folder, task=task, spec=spec),
        labels=labels,
    )
    samples = load_data(spec, task=task, labels=labels, seed=0)
    context = Context(
        reference=artifact, task=task, data=samples, directory=folder, shared=folder / "shared"
    )
    return artifact, context


def stage_of(kind: str, losses: dict[str, Any]) -> Any:
    """The distillation under test."""
    from compress.stages.distill import Distill

    student: dict[str, Any] = {"layers": 3}
    training: dict[str, Any] = {
        "epochs": 3, "batch_size": 32, "learning_rate": 2e-4, "precision": "bf16",
    }  # fmt: skip
    if kind == "images":
        student = {"python": "teaching:small_cnn"}
        training = {
            "epochs": 30, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05,
            "weight_decay": 5e-4, "schedule": "cosine",
        }  # fmt: skip
    fields: dict[str, Any] = {"student": student, "losses": losses, "training": training}
    needs_teacher = set(losses) - {"labels"} and any(
        losses[name] for name in losses if name != "labels"
    )
    maps = (losses.get("attention") or {}).get("maps")
    if needs_teacher and not maps:
        fields["teacher"] = {"cache": {}}
    return Distill.model_validate(fields)


def accuracy(artifact: Any, context: Any, *, samples: int | None = None) -> float:
    """On the test split, or its first samples."""
    import torch

    from compress.core.batch import model_inputs

    right = total = 0
    with torch.no_grad():
        loader = context.data.loader("test", artifact.preprocessor, batch_size=64, limit=samples)
        for batch in loader:
            logits = context.task.logits(artifact.module, model_inputs(batch))
            right += int((logits.argmax(1) == batch["labels"]).sum())
            total += len(logits)
    return right / total


def study(kind: str, *, teacher: Path, data: Path, results: Path) -> None:
    """Train what RESULTS doesn't hold yet, seed after seed."""
    import torch

    torch.set_num_threads(1)
    done = {(line["name"], line["seed"]) for line in lines(results)}
    folder = results.with_suffix(".work")
    folder.mkdir(exist_ok=True)
    artifact, context = problem(kind, teacher=teacher, data=data, folder=folder)
    if ("teacher", 0) not in done:
        add(results, name="teacher", seed=0, accuracy=accuracy(artifact, context), seconds=0.0)
    for seed in SEEDS:
        for name, losses in losses_of(kind).items():
            if (name, seed) in done:
                continue
            own = folder / f"{name}-{seed}"
            own.mkdir(exist_ok=True)
            began = time.perf_counter()
            student = stage_of(kind, losses).apply(
                artifact, replace(context, seed=seed, directory=own)
            )
            seconds = time.perf_counter() - began
            found = accuracy(student, context)
            add(results, name=name, seed=seed, accuracy=found, seconds=seconds)


def add(results: Path, **line: Any) -> None:
    """Append a training to RESULTS, and print it."""
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(line, flush=True)


def lines(results: Path) -> Iterator[dict[str, Any]]:
    """The trainings in RESULTS."""
    if results.is_file():
        for line in results.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def table(results: Path) -> None:
    """Mean and spread (standard deviation over seeds) as Markdown."""
    by_name: dict[str, list[float]] = defaultdict(list)
    for line in lines(results):
        by_name[line["name"]].append(100 * line["accuracy"])
    base = statistics.mean(by_name["labels only"])
    print("| losses | accuracy, mean | spread | against labels only | seeds |")
    print("| --- | --- | --- | --- | --- |")
    for name, found in by_name.items():
        spread = f"{statistics.stdev(found):.2f}" if len(found) > 1 else "-"
        mean = statistics.mean(found)
        print(f"| {name} | {mean:.2f} % | {spread} | {mean - base:+.2f} | {len(found)} |")


def main(study: Callable[..., None], table: Callable[[Path], None], *, about: str) -> None:
    """Parse and run one of the two."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("kind", choices=("images", "texts", "table"))
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    given = parser.parse_args()
    if given.kind == "table":
        table(given.results)
    else:
        study(given.kind, teacher=given.teacher, data=given.data, results=given.results)


if __name__ == "__main__":
    main(study, table, about=__doc__)
