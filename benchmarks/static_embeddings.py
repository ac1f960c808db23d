"""How good is a table of token vectors at finding documents, and how fast?

    python benchmarks/static_embeddings.py DATA MODEL [--rows 4000] [--model2vec FOLDER PYTHON]

DATA is a folder with train.parquet, validation.parquet and test.parquet, whose column `text` holds
"title. description"; the title is the query, the description its document. MODEL is an encoder that
pools by the mean. The student learns from titles and descriptions of the first ROWS rows of train.
The first 1,000 rows of test are judged: each title looks for its description by cosine.

FOLDER is what model2vec (`pip install 'model2vec[distill]'`, in an environment of its own) made of
the same model, and PYTHON is that environment's interpreter:

    python -c "from model2vec.distill import distill; distill('MODEL').save_pretrained('FOLDER')"
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch

import compress
from compress.core.artifact import Artifact
from compress.core.context import Context
from compress.distillation.learn import learn
from compress.distillation.options import Losses
from compress.distillation.students.static_spec import StaticSpec
from compress.distillation.students.static_table import static_student
from compress.distillation.teacher_spec import CacheSpec, TeacherSpec
from compress.exporting.checked import export_artifact
from compress.measurement.environment import cpu_name
from compress.measurement.session import run, session
from compress.stages.quantize.stage import Quantize
from compress.training.options import TrainingOptions

TESTED, VALIDATED, TIMED, ROUNDS = 1000, 200, 100, 3
LOSSES = {"response": None, "labels": None, "embedding": {"weight": 1.0}}
ENCODE = """
import json, sys, numpy
from model2vec import StaticModel
model, texts = StaticModel.from_pretrained(sys.argv[1]), json.load(sys.stdin)
numpy.save(sys.argv[2], model.encode(texts))
"""


def pairs(path: Path, most: int) -> tuple[list[str], list[str]]:
    """Titles and descriptions of the first rows that have both."""
    split = [text.partition(". ") for text in pandas.read_parquet(path)["text"]]
    both = [(title, rest) for title, _, rest in split if title.strip() and rest.strip()][:most]
    return [title for title, _ in both], [rest for _, rest in both]


def judged(embeddings: np.ndarray) -> str:
    """Recall at 1 and MRR of embeddings (2 N, H): the queries', then the documents'."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    queries, documents = np.split(unit, 2)
    scores = queries @ documents.T
    ranks = (scores >= np.diag(scores)[:, None]).sum(1)  # a document that ties comes first
    return f"recall@1 {(ranks == 1).mean():.3f}, MRR {(1 / ranks).mean():.4f}"


def embed(model: Any, artifact: Artifact, texts: list[str], size: int = 32) -> np.ndarray:
    """Embeddings of texts (N, H) by an ONNX session."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(order), size):
        some = order[start : start + size]
        inputs = artifact.require_preprocessor()([texts[at] for at in some])
        tokens = next(iter(run(model, inputs).values()))
        mask = inputs["attention_mask"].numpy()[:, :, None]
        found |= dict(zip(some, (tokens * mask).sum(1) / mask.sum(1), strict=True))
    return np.stack([found[at] for at in range(len(texts))])


def seconds(models: dict[str, Any], artifact: Artifact, texts: list[str]) -> dict[str, float]:
    """Median seconds from a text to its embedding, in turns, and of the tokenizer alone."""
    times: dict[str, list[float]] = {name: [] for name in (*models, "tokenizer")}
    for text in texts * ROUNDS:
        start = time.perf_counter()
        artifact.require_preprocessor()([text])
        times["tokenizer"].append(time.perf_counter() - start)
        for name, model in models.items():
            start = time.perf_counter()
            embed(model, artifact, [text])
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(found)) for name, found in times.items()}


def of_model2vec(folder: str, python: str, texts: list[str], scratch: Path) -> np.ndarray:
    """Embeddings by model2vec itself, in its own environment."""
    made = scratch / "model2vec.npy"
    command = [python, "-c", ENCODE, folder, str(made)]
    subprocess.run(command, input=json.dumps(texts), text=True, check=True)
    return np.load(made)


def problem(
    data: Path, model: str, *, rows: int, length: int, scratch: Path
) -> tuple[Artifact, Context]:
    """The teacher, and the context of a distillation on titles and descriptions."""
    for split, most in (("train", rows), ("validation", VALIDATED), ("test", TESTED)):
        titles, rest = pairs(data / f"{split}.parquet", most)
        pandas.DataFrame({"text": [*titles, *rest]}).to_parquet(scratch / f"{split}.parquet")
    files = {name: str(scratch / f"{name}.parquet") for name in ("train", "validation", "test")}
    return compress.load(
        {"transformers": model},
        "feature-extraction",
        {
            "huggingface": "parquet",
            "files": files,
            "columns": {"label": None},
            "max_length": length,
        },
        directory=scratch / "distill",
        threads=torch.get_num_threads(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[256])
    parser.add_argument("--model2vec", nargs=2, metavar=("FOLDER", "PYTHON"))
    given = parser.parse_args()
    print(f"{cpu_name()}, {torch.get_num_threads()} threads of torch")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        titles, rest = pairs(given.data / "test.parquet", TESTED)
        texts = [*titles, *rest]
        artifact, context = problem(
            given.data, given.model, rows=given.rows, length=given.length, scratch=scratch
        )
        context = replace(context, shared=scratch)
        files = {"teacher": scratch / "teacher.onnx"}
        export_artifact(artifact, context, files["teacher"], samples=4)
        if given.model2vec:
            found = of_model2vec(*given.model2vec, texts, scratch)
            size = (Path(given.model2vec[0]) / "model.safetensors").stat().st_size
            print(f"model2vec, {found.shape[1]}: {judged(found)}, {size / 1e6:.1f} MB")
        for dimensions in given.dimensions:
            files |= student(given, dimensions, artifact, context, scratch)
        models = {name: session(file, threads=1) for name, file in files.items()}
        for name, model in models.items():
            size = files[name].stat().st_size / 1e6
            print(f"{name}: {judged(embed(model, artifact, texts))}, {size:.1f} MB", flush=True)
        times = seconds(models, artifact, titles[:TIMED])
    for name, one in times.items():
        ratio = times["teacher"] / one
        print(f"{name}: {one * 1e6:,.0f} us from a title to its answer, {ratio:.0f}x")


def student(
    given: argparse.Namespace, dimensions: int, artifact: Artifact, context: Context, scratch: Path
) -> dict[str, Path]:
    """Files of the table as it begins, as it is trained, and in 8 bits."""
    start = time.perf_counter()
    begun, projection = static_student(StaticSpec(dimensions=dimensions), artifact, context)
    fitted = learn(
        begun.module,
        losses=Losses.model_validate(LOSSES),
        teacher=TeacherSpec(cache=CacheSpec(dtype="fp16")),
        artifact=artifact,
        context=replace(context, directory=_folder(scratch / f"distill-{dimensions}")),
        training=TrainingOptions(epochs=given.epochs, batch_size=128, learning_rate=given.rate),
        description="distill",
        projection=projection,
    )
    trained = artifact.with_module(fitted.module, source=begun.source)
    print(f"{dimensions}: made and trained in {time.perf_counter() - start:.0f} s", flush=True)
    files = {}
    for name, one in (
        ("begun", artifact.with_module(begun.module, source=begun.source)),
        ("trained", trained),
    ):
        files[f"static {dimensions}, {name}"] = scratch / f"{name}-{dimensions}.onnx"
        export_artifact(one, context, scratch / f"{name}-{dimensions}.onnx", samples=4)
    small = Quantize(method="storage").apply(
        trained, replace(context, directory=_folder(scratch / f"quantize-{dimensions}"))
    )
    return {**files, f"static {dimensions}, INT8": small.require_onnx()}


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


if __name__ == "__main__":
    main()
