"""Sentence encoders whose graph makes the embedding: a whole recipe, its bundle, and its layout."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import compress
from compress.core.context import Pooling
from compress.data.spec import DataSpec
from compress.data.vocabulary.train import train_tokenizer
from compress.errors import StageError
from compress.exporting.half import to_half
from compress.exporting.to_onnx import export_module
from compress.measurement.session import run, session
from compress.models.checkpoint import load_checkpoint
from compress.models.folder.sentence_transformers import sentence_folder
from compress.models.spec import ModelSpec
from compress.onnx_graph.files import load_graph
from compress.quantization.onnx_torch.module import GraphModule
from compress.recipe.load import recipe_from_dict
from compress.stages.export import Export
from compress.tasks.pooling import sentence_vectors
from compress.tasks.task import TASKS
from tests.exporting.tasks import inputs, model_for
from tests.stages.texts import coloured
from tests.tasks import texts
from tests.tasks.test_tensors import EVALUATION, MEASURE, training
from tests.tasks.test_text_regression import verified

OUTPUTS = ["sentence_embedding", "last_hidden_state"]
FLAGS = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
LESSON: dict[str, Any] = {"losses": {"response": None, "labels": None, "embedding": {}}}
SENTENCES = ["the red boat in the morning", "a bird", "the house is blue and green"]


def pairs() -> Any:
    """A Python source of queries, each with the text that it asks for."""
    rows = [
        {"query": f"{row['label']} {row['text'].split()[1]}", "document": row["text"]}
        for row in coloured()["train"]
    ]
    return {"train": rows, "validation": rows[::5], "test": rows[1::3]}


def save_encoder(folder: Path, *, pooling: str = "mean", normalize: bool = True) -> Path:
    """A small BERT in the layout of sentence-transformers."""
    from transformers import BertConfig, BertModel

    from compress.data.spec import Vocabulary

    torch.manual_seed(0)
    kept = {key: value for key, value in texts.CONFIG.items() if key != "model_type"}
    BertModel(BertConfig(**kept, initializer_range=0.3)).save_pretrained(folder)
    rows = [row["text"] for row in coloured()["train"]]
    tokenizer = train_tokenizer(rows, Vocabulary(vocab_size=300), generates=False, max_length=24)
    tokenizer.save_pretrained(folder)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    parts = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(kinds[: 3 if normalize else 2])
    ]
    (folder / "modules.json").write_text(json.dumps(parts))
    (folder / "1_Pooling").mkdir()
    flags = {f"pooling_mode_{FLAGS[pooling]}": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20}))
    return folder


def recipe(
    model: dict[str, Any],
    *stages: dict[str, Any],
    metric: str = "mrr",
    task: str = "sentence-similarity",
    export: dict[str, Any] | None = None,
) -> Any:
    columns = {"text": "query", "text_pair": "document"}
    source = {"python": f"{__name__}:pairs", "columns": columns}
    return recipe_from_dict(
        {
            "version": 1,
            "name": "small",
            "task": task,
            "model": model,
            "data": {**source, "calibration_samples": 32},
            "measure": {**MEASURE, "metric": metric},
            "stages": [*stages, export or {"use": "export"}],
        }
    )


def of_torch(module: Any, bundle: Path, sentences: list[str], pooling: str) -> Any:
    """The vectors that sentence-transformers would make, of length 1."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bundle)
    given = tokenizer(sentences, return_tensors="pt", padding=True, truncation=True, max_length=20)
    with torch.no_grad():
        hidden = module(**given).last_hidden_state
    mask = given["attention_mask"][:, :, None]
    vectors = {
        "mean": (hidden * mask).sum(1) / mask.sum(1),
        "cls": hidden[:, 0],
        "max": hidden.masked_fill(mask == 0, -torch.inf).amax(1),
    }
    return functional.normalize(vectors[pooling]).numpy()


def script(bundle: Path, *words: str) -> str:
    command = [sys.executable, "infer.py", *words]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_encoders_go_the_whole_way(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "model")
    report = compress.run(
        recipe(
            {"transformers": str(folder)},
            {"use": "distill", "student": {"width": {"intermediate_size": 24}}}
            | LESSON
            | training(3, 0.01),
            {
                "use": "prune",
                "target": {"macs": 0.8},
                "round_to": 1,
                "recovery": LESSON | training(1),
            },
            {"use": "export", "name": "float"},
            {"use": "quantize", "method": "dynamic", "evaluation": EVALUATION},
            metric="spearman",
        ),
        output=tmp_path / "run",
        threads=1,
    )
    original, distilled, pruned, _, small, final = report.stages
    assert original.quality.value == pytest.approx(1)
    assert 0.6 < distilled.quality.value < 1
    assert pruned.macs < 0.85 * distilled.macs
    assert small.quality.value > pruned.quality.value - 0.1
    assert "infer.py on 8 raw samples" in " ".join(final.notes)
    assert verified(tmp_path / "run") == {"ok"}
    for bundle in (tmp_path / "run/stages/03-float/bundle", tmp_path / "run"):
        assert list(load_graph(bundle / "model.onnx").outputs) == OUTPUTS
        assert sentence_folder(str(bundle)) == sentence_folder(str(folder))
    bundle = tmp_path / "run/stages/03-float/bundle"
    printed = script(bundle, "--save", str(tmp_path / "v.npy"), *SENTENCES).splitlines()
    vectors = np.load(tmp_path / "v.npy")
    module, _ = load_checkpoint(tmp_path / "run/stages/02-prune")
    np.testing.assert_allclose(vectors, of_torch(module, bundle, SENTENCES, "mean"), atol=1e-5)
    table = np.array([[float(word) for word in line.split()[:3]] for line in printed])
    np.testing.assert_allclose(table, vectors @ vectors.T, atol=6e-5)


@pytest.mark.parametrize(("pooling", "normalize"), [("cls", False), ("max", True)])
def test_the_graph_pools_as_the_folder_says(
    pooling: Pooling, normalize: bool, tmp_path: Path
) -> None:
    folder = save_encoder(tmp_path / "model", pooling=pooling, normalize=normalize)
    compress.run(recipe({"transformers": str(folder)}), output=tmp_path / "run", threads=1)
    bundle = tmp_path / "run"
    said = json.loads((bundle / "postprocessing.json").read_text())
    assert said["output"] == "sentence_embedding"
    assert said["in_graph"] == {"pooling": pooling, "normalize": normalize}
    assert (said["pooling"], said["normalize"]) == (None, False)
    assert sentence_folder(str(bundle)) == sentence_folder(str(folder))
    script(bundle, "--save", str(tmp_path / "v.npy"), *SENTENCES)
    vectors = np.load(tmp_path / "v.npy")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.allclose(lengths, 1) == normalize
    from transformers import BertModel

    wanted = of_torch(BertModel.from_pretrained(folder).eval(), bundle, SENTENCES, pooling)
    np.testing.assert_allclose(vectors / lengths, wanted, atol=1e-5)


def test_a_bundle_is_a_model_again(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "model")
    first = compress.run(recipe({"transformers": str(folder)}), output=tmp_path / "run", threads=1)
    given = tmp_path / "run/model.onnx"
    again = compress.run(recipe({"onnx": str(given)}), output=tmp_path / "again", threads=1)
    assert again.final.quality.metric == "mrr"
    assert again.final.quality.value == pytest.approx(first.final.quality.value)
    assert "as the model's modules.json says" in " ".join(again.stages[0].notes)
    batch = {name: np.ones((2, 5), np.int64) for name in load_graph(given).inputs}
    batch["attention_mask"][1, 3:] = 0
    wanted, got = (
        run(session(path, threads=1), batch) for path in (given, tmp_path / "again/model.onnx")
    )
    assert list(wanted) == list(got) == OUTPUTS
    for name in OUTPUTS:
        np.testing.assert_allclose(got[name], wanted[name], atol=1e-5)


def test_a_vector_of_length_0_stays() -> None:
    hidden = torch.zeros(1, 2, 3)
    mask = torch.ones(1, 2)
    assert sentence_vectors(hidden, mask, pooling="mean", normalize=True).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("task", ["sentence-similarity", "feature-extraction"])
def test_vectors_are_cut_and_become_int8(task: str, tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "model")
    export = {"use": "export", "dimensions": 12, "int8_vectors": True}
    report = compress.run(
        recipe({"transformers": str(folder)}, task=task, export=export),
        output=tmp_path / "run",
        threads=1,
    )
    notes = " ".join(report.final.notes)
    assert "the first 12 of 32 dimensions" in notes
    assert "ranges of 12 dimensions for int8 vectors, over 64 calibration samples" in notes
    assert report.final.quality.value < report.stages[0].quality.value
    bundle = tmp_path / "run"
    pooling = json.loads((bundle / "1_Pooling/config.json").read_text())
    assert pooling["word_embedding_dimension"] == 12
    script(bundle, "--save", str(tmp_path / "v.npy"), *SENTENCES)
    vectors = np.load(tmp_path / "v.npy")
    from transformers import BertModel

    whole = of_torch(BertModel.from_pretrained(folder).eval(), bundle, SENTENCES, "mean")
    wanted = whole[:, :12] / np.linalg.norm(whole[:, :12], axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)
    said = json.loads((bundle / "postprocessing.json").read_text())["int8"]
    low, high = np.array(said["low"]), np.array(said["high"])
    printed = script(bundle, "--int8", "--save", str(tmp_path / "c.npy"), *SENTENCES)
    codes = np.load(tmp_path / "c.npy")
    assert codes.dtype == np.int8
    inside = (vectors >= low) & (vectors <= high)
    assert inside.mean() > 0.5
    off = low + (codes + 128.5) * (high - low) / 255 - vectors
    assert (np.abs(off) <= (high - low) / 255)[inside].all()
    assert (codes[vectors < low] == -128).all()
    assert (codes[vectors > high] == 127).all()
    table = np.array([[float(word) for word in row.split()[:3]] for row in printed.splitlines()])
    np.testing.assert_allclose(table.diagonal(), 1, atol=1e-4)
    np.testing.assert_allclose(table, vectors @ vectors.T, atol=0.2)


def test_a_bundle_without_ranges_has_no_int8_vectors(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "model")
    compress.run(recipe({"transformers": str(folder)}), output=tmp_path / "run", threads=1)
    command = [sys.executable, "infer.py", "--int8", "a bird"]
    done = subprocess.run(
        command, cwd=tmp_path / "run", capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "export with 'int8_vectors: true'" in done.stderr


def test_no_more_dimensions_than_there_are(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "model")
    wide = recipe({"transformers": str(folder)}, export={"use": "export", "dimensions": 32})
    with pytest.raises(StageError, match="fewer than the embeddings' 32"):
        compress.run(wide, output=tmp_path / "run", threads=1)


def test_only_embeddings_have_dimensions() -> None:
    found = Export(dimensions=8, int8_vectors=True).check(
        task="text-classification", model=ModelSpec(config={}), data=DataSpec(sklearn="digits")
    )
    assert [key for key, _ in found] == ["dimensions", "int8_vectors"]
    with pytest.raises(ValueError, match="'dimensions' must be null"):
        Export(dimensions=8, target_cpu="any")


@pytest.mark.parametrize("pooling", FLAGS)
def test_a_torch_module_of_the_file_answers_alike(pooling: Pooling, tmp_path: Path) -> None:
    task = replace(TASKS["sentence-similarity"], pooling=pooling)
    given = inputs("sentences", padding=4)
    path = export_module(
        model_for("sentences"), task=task, example=given, path=tmp_path / "m.onnx", labels=()
    )
    wanted = run(session(path, threads=1), given)["sentence_embedding"]
    module = GraphModule(load_graph(path))
    with torch.no_grad():
        got = module(*(given[name] for name in load_graph(path).inputs))
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-5)
    half = tmp_path / "half.onnx"
    found = to_half(path, path=half, batches=[given], target="none")
    assert found.agreement > 0.999
