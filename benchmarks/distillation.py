"""What distillation costs: in steps a second, beside a cached teacher, and in memory.

    python benchmarks/distillation.py speed
    python benchmarks/distillation.py cache --model MODEL --data FOLDER
    python benchmarks/distillation.py memory

`speed` is benchmarks/engine.py: `fit` against a bare loop that does the same work, interleaved.
`memory` is benchmarks/chunked_loss.py: the vocabulary's losses whole against in chunks.

`cache`: MODEL is a folder of a fine-tuned BERT-type classifier, FOLDER holds train and test as
parquet; the student is three of the teacher's layers. A live and a cached teacher take turns; what
is compared is the second epoch (the first begins with filling the cache) over 512 rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROWS = 512


def problem(model: Path, data: Path, folder: Path) -> tuple[Any, Any]:
    """The teacher as an artifact, and the context of its students."""
    from compress.core.artifact import Artifact, Format
    from compress.core.context import Context
    from compress.data.dataset import load_data
    from compress.data.preprocess import load_preprocessor
    from compress.data.spec import DataSpec
    from compress.models.load import load_model
    from compress.models.spec import ModelSpec
    from compress.tasks.task import task as find_task

    task = find_task("text-classification")
    files = {name: data / f"{name}.parquet" for name in ("train", "test")}
    limit = {"train": ROWS + 8, "validation": 8}
    spec = DataSpec.model_validate(
        {"huggingface": "parquet", "files": files, "limit": limit, "max_length": 64}
    )
    loaded = load_model(ModelSpec(transformers=str(model)), task=task, seed=0)
    preprocessor = load_preprocessor(loaded.folder, task=task, spec=spec)
    artifact = Artifact(
        Format.TORCH, loaded.module.eval(), loaded.source, None, preprocessor, loaded.labels
    )
    samples = load_data(spec, task=task, labels=loaded.labels, seed=0)
    return artifact, Context(artifact, task, samples, folder, shared=folder / "shared")


def second_epoch(artifact: Any, context: Any, *, cached: bool, precision: str) -> float:
    """Its seconds."""
    from compress.stages.distill import Distill

    stage = Distill.model_validate(
        {
            "student": {"layers": 3},
            "teacher": {"cache": {} if cached else None},
            "training": {"epochs": 2, "batch_size": 32, "precision": precision},
        }
    )
    folder = Path(tempfile.mkdtemp(dir=context.directory))
    stage.apply(artifact, replace(context, directory=folder))
    epochs = json.loads((folder / "training.json").read_text(encoding="utf-8"))["epochs"]
    return float(epochs[1]["seconds"])


def cache(model: Path, data: Path, *, rounds: int) -> None:
    """Print the seconds of an epoch with both teachers, and their ratio."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        artifact, context = problem(model, data, Path(folder))
        for precision in ("fp32", "bf16"):
            began = time.perf_counter()
            second_epoch(artifact, context, cached=True, precision=precision)  # fills it
            filled = time.perf_counter() - began
            pairs = [
                [
                    second_epoch(artifact, context, cached=cached, precision=precision)
                    for cached in (False, True)
                ]
                for _ in range(rounds)
            ]
            live, kept = (statistics.median(times) for times in zip(*pairs, strict=True))
            ratios = sorted(live / kept for live, kept in pairs)
            print(
                f"{precision}: live {live:.1f} s, cached {kept:.1f} s an epoch; "
                f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}, "
                f"{rounds} rounds); first run with filling and 2 epochs {filled:.1f} s"
            )


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "cache", "memory"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.what == "cache":
        cache(given.model, given.data, rounds=given.rounds)
        return
    script = {"speed": ["engine.py", "speed"], "memory": ["chunked_loss.py"]}[given.what]
    subprocess.run([sys.executable, str(HERE / script[0]), *script[1:]], check=True)


if __name__ == "__main__":
    main()
