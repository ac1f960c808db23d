"""Which importance criterion keeps most? Criteria x targets x seeds, after the same recovery.

    python benchmarks/importance.py images --teacher exports/fashion-mnist/stages/01-train \
        --data /usr/share/datasets/fashion-mnist --results images.jsonl
    python benchmarks/importance.py texts --teacher MODEL --data FOLDER --results texts.jsonl
    python benchmarks/importance.py table --results images.jsonl

Models and data as in `teaching.py`. Of the trained model, so many multiply-accumulates remain; the
recovery is one epoch of the small training set. Each line of RESULTS is one cut: accuracy on 2,000
test samples right after it and after the recovery, by the torch module in fp32. What is there isn't
done again.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from teaching import accuracy, add, lines, main, problem

SEEDS = (0, 1, 2)
TARGETS = (0.5, 0.25)
CRITERIA = (
    "magnitude", "batch_norm", "lamp", "fpgm", "random", "taylor", "hessian", "activation",
)  # fmt: skip
WITHOUT_BATCH_NORM = "texts"
CALIBRATION = 64
"""Samples for the criteria that read data."""
TESTED = 2000
"""Test samples."""


def stage_of(criterion: str, target: float) -> Any:
    """The cut under test, without recovery."""
    from compress.stages.prune.stage import Prune

    return Prune.model_validate(
        {
            "target": {"macs": target},
            "importance": criterion,
            "calibration": {"samples": CALIBRATION},
            "recovery": None,
        }
    )


def recovery_of(kind: str) -> Any:
    """What every cut is followed by."""
    from compress.distillation.recovery import Recovery

    training: dict[str, Any] = {"epochs": 1, "learning_rate": 2e-4, "precision": "bf16"}
    if kind == "images":
        training |= {"optimizer": "sgd", "learning_rate": 0.02, "batch_size": 64}
    losses = {"response": {"temperature": 2.0, "weight": 0.7}, "labels": {"weight": 0.3}}
    return Recovery.model_validate(
        {"training": training, "losses": losses, "teacher": {"cache": {}}}
    )


def study(kind: str, *, teacher: Path, data: Path, results: Path) -> None:
    """Cut what RESULTS doesn't hold yet."""
    import torch

    torch.set_num_threads(1)
    done = {(line["criterion"], line["target"], line["seed"]) for line in lines(results)}
    folder = results.with_suffix(".work")
    folder.mkdir(exist_ok=True)
    artifact, context = problem(kind, teacher=teacher, data=data, folder=folder)
    if ("none", 1.0, 0) not in done:
        whole = accuracy(artifact, context, samples=TESTED)
        add(results, criterion="none", target=1.0, seed=0, cut=whole, recovered=whole)
    for seed in SEEDS:
        for target in TARGETS:
            for criterion in CRITERIA:
                if kind == WITHOUT_BATCH_NORM and criterion == "batch_norm":
                    continue
                if (criterion, target, seed) in done:
                    continue
                own = folder / f"{criterion}-{target}-{seed}"
                own.mkdir(exist_ok=True)
                here = replace(context, seed=seed, directory=own)
                cut = stage_of(criterion, target).apply(artifact, here)
                fitted = recovery_of(kind).recover(
                    cut.module, artifact=cut, context=here, description="recover"
                )
                add(
                    results,
                    criterion=criterion,
                    target=target,
                    seed=seed,
                    cut=accuracy(cut, context, samples=TESTED),
                    recovered=accuracy(cut.with_module(fitted.module), context, samples=TESTED),
                )


def table(results: Path) -> None:
    """Means over seeds, and the spread (standard deviation) after recovery, as Markdown."""
    found: dict[tuple[str, float], list[tuple[float, float]]] = defaultdict(list)
    for line in lines(results):
        key = line["criterion"], line["target"]
        found[key].append((100 * line["cut"], 100 * line["recovered"]))
    print("| importance | MACs left | right after the cut | recovered, mean | spread | seeds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for (criterion, target), values in sorted(found.items(), key=lambda item: -item[0][1]):
        cut, recovered = (list(each) for each in zip(*values, strict=True))
        spread = f"{statistics.stdev(recovered):.2f}" if len(recovered) > 1 else "-"
        print(
            f"| {criterion} | {target:g} | {statistics.mean(cut):.2f} % | "
            f"{statistics.mean(recovered):.2f} % | {spread} | {len(values)} |"
        )


if __name__ == "__main__":
    main(study, table, about=__doc__)
