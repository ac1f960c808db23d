"""Whole recipes on tensors: from arrays to a bundle that answers as torch does."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import compress
from compress.models.checkpoint import load_checkpoint
from compress.recipe.load import recipe_from_dict
from compress.report.document import Report
from tests.tasks import arrays

MEASURE = {"batch_sizes": [1], "rounds": 5, "warmup": 1, "seconds": 0.01}
EVALUATION = {"samples": 64, "rounds": 5, "seconds": 0.01, "batch_sizes": [1]}
QUANTIZE = {"use": "quantize", "method": "static", "evaluation": EVALUATION}


def training(epochs: int, rate: float = 5e-3) -> dict[str, Any]:
    return {"training": {"epochs": epochs, "batch_size": 32, "learning_rate": rate}}


def run(folder: Path, made: Mapping[str, np.ndarray], **keys: Any) -> Report:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "data.npz", **made)
    values = {
        "version": 1,
        "name": "small",
        "measure": MEASURE,
        **keys,
        "data": {"arrays": str(folder / "data.npz"), **keys.get("data", {})},
    }
    return compress.run(recipe_from_dict(values), output=folder / "run", threads=1)


def answers(bundle: Path, inputs: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], list[Any]]:
    """The outputs by name and the printed answers of the bundle's script."""
    np.savez(bundle / "given.npz", **inputs)
    command = [sys.executable, "infer.py", "given.npz", "--to", "found.npz"]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(bundle / "found.npz") as found:
        return dict(found), [json.loads(line) for line in done.stdout.splitlines()]


def of_torch(stage: Path, *inputs: np.ndarray) -> list[np.ndarray]:
    module, _ = load_checkpoint(stage)
    with torch.no_grad():
        found = module(*(torch.from_numpy(each) for each in inputs))
    return [value.numpy() for value in (found if isinstance(found, tuple) else (found,))]


def test_signals_are_classified_pruned_and_quantized(tmp_path: Path) -> None:
    made = arrays.signals()
    report = run(
        tmp_path,
        made,
        task="tensor-classification",
        model={"python": "tests.tasks.nets:Signal", "arguments": {"width": 48}},
        stages=[
            {"use": "train", **training(4)},
            {"use": "prune", "target": {"macs": 0.6}, "round_to": 1, "recovery": training(1)},
            {"use": "export", "name": "float"},
            QUANTIZE,
            {"use": "export"},
        ],
    )
    _, trained, pruned, _, small, final = report.stages
    assert trained.quality.metric == "accuracy"
    assert trained.quality.value > 0.7
    assert pruned.macs < 0.65 * trained.macs
    assert small.quality.value > pruned.quality.value - 0.1
    assert final.size_bytes < trained.size_bytes
    some = made["signal"][:3]
    outputs, said = answers(tmp_path / "run", {"signal": some})
    assert outputs["logits"].shape == (3, 4)
    assert [answer["logits"]["class"] for answer in said] == outputs["logits"].argmax(1).tolist()
    exact, _ = answers(tmp_path / "run/stages/03-float/bundle", {"signal": some})
    (wanted,) = of_torch(tmp_path / "run/stages/02-prune", some)
    np.testing.assert_allclose(exact["logits"], wanted, atol=1e-4)


def test_a_table_is_regressed_and_distilled(tmp_path: Path) -> None:
    made = arrays.table()
    report = run(
        tmp_path,
        made,
        task="tensor-regression",
        model={"python": "tests.tasks.nets:Table"},
        gates={"accuracy_drop": 0.3},
        stages=[
            {"use": "train", **training(6)},
            {
                "use": "distill",
                "student": {"python": "tests.tasks.nets:Table", "arguments": {"width": 16}},
                **training(12, 0.01),
            },
            {"use": "export"},
        ],
    )
    assert report.status == "passed"
    _, teacher, student, final = report.stages
    assert teacher.quality.metric == "r2"
    assert teacher.quality.value > 0.9
    assert student.params < 0.2 * teacher.params
    outputs, said = answers(tmp_path / "run", {"features": made["features"][:4]})
    (wanted,) = of_torch(tmp_path / "run/stages/02-distill", made["features"][:4])
    np.testing.assert_allclose(outputs["values"], wanted, atol=1e-4)
    assert said[2] == {"values": pytest.approx(wanted[2].tolist(), abs=1e-4)}
    assert final.quality.value == pytest.approx(student.quality.value)


def test_a_gru_tags_sequences_of_any_length(tmp_path: Path) -> None:
    made = arrays.steps()
    report = run(
        tmp_path,
        made,
        task={"name": "tensor-classification", "arguments": {"varying": {"steps": [1]}}},
        model={"python": "tests.tasks.nets:Tagger"},
        stages=[{"use": "train", **training(12, 0.01)}, {"use": "export"}],
    )
    assert report.stages[-1].quality.value > 0.8
    longer = np.random.default_rng(0).normal(size=(2, 23, 2)).astype(np.float32)
    outputs, _ = answers(tmp_path / "run", {"steps": longer})
    (wanted,) = of_torch(tmp_path / "run/stages/01-train", longer)
    np.testing.assert_allclose(outputs["logits"], wanted, atol=1e-4)


def test_two_inputs_and_two_outputs_go_the_whole_way(tmp_path: Path) -> None:
    made = arrays.pairs()
    report = run(
        tmp_path,
        made,
        task={
            "name": "tensor-classification",
            "arguments": {"outputs": {"kind": "classes", "box": "values"}},
        },
        model={"python": "tests.tasks.nets:Pair"},
        data={"columns": {"targets": {"kind": "kind", "box": "box"}}},
        stages=[
            {"use": "train", **training(4)},
            {
                "use": "distill",
                "student": {"python": "tests.tasks.nets:Pair", "arguments": {"width": 64}},
                **training(4),
            },
            {"use": "prune", "target": {"macs": 0.8}, "round_to": 1, "recovery": training(1)},
            {"use": "export"},
        ],
    )
    _, teacher, _, pruned, final = report.stages
    assert teacher.quality.metric == "kind_accuracy"
    assert final.quality.value > 0.8
    some = {name: made[name][:5] for name in ("extra", "table")}  # their order makes no difference
    outputs, said = answers(tmp_path / "run", some)
    wanted = of_torch(tmp_path / "run/stages/03-prune", made["table"][:5], made["extra"][:5])
    for name, value in zip(("kind", "box"), wanted, strict=True):
        np.testing.assert_allclose(outputs[name], value, atol=1e-4)
    assert pruned.macs < teacher.macs
    assert {answer["kind"]["label"] for answer in said} <= {"ant", "bee", "cat"}
    assert len(said[0]["box"]) == 4


def test_columns_of_a_csv_make_one_vector(tmp_path: Path) -> None:
    made = arrays.table()
    rows = np.column_stack([made["features"], made["label"]])
    path = tmp_path / "houses.csv"
    np.savetxt(path, rows, delimiter=",", header="a,b,c,d,e,f,price", comments="", fmt="%.6f")
    values = {
        "version": 1,
        "name": "houses",
        "task": "tensor-regression",
        "model": {"python": "tests.tasks.nets:Table", "arguments": {"features": 2}},
        "data": {
            "huggingface": "csv",
            "files": {"train": str(path)},
            "columns": {"inputs": {"features": ["a", "b"]}, "label": "price"},
        },
        "measure": {**MEASURE, "metric": "pearson"},
        "stages": [{"use": "train", **training(6)}, {"use": "export"}],
    }
    report = compress.run(recipe_from_dict(values), output=tmp_path / "run", threads=1)
    assert report.stages[-1].quality.metric == "pearson"
    assert report.stages[-1].quality.value > 0.9
    outputs, _ = answers(tmp_path / "run", {"features": made["features"][:3, :2]})
    (wanted,) = of_torch(tmp_path / "run/stages/01-train", made["features"][:3, :2])
    np.testing.assert_allclose(outputs["values"], wanted, atol=1e-3)


def test_token_ids_beside_numbers_take_any_length(tmp_path: Path) -> None:
    made = arrays.ids_and_numbers()
    length = {"length": 1}
    report = run(
        tmp_path,
        made,
        task={
            "name": "tensor-classification",
            "arguments": {"varying": {"input_ids": length, "attention_mask": length}},
        },
        model={"python": "tests.tasks.nets:IdsAndNumbers"},
        stages=[{"use": "train", **training(6)}, {"use": "export"}],
    )
    assert report.stages[-1].quality.value > 0.7
    longer = {
        "input_ids": np.full((2, 11), 7),
        "attention_mask": np.ones((2, 11), np.int64),
        "numbers": made["numbers"][:2],
    }
    outputs, _ = answers(tmp_path / "run", longer)
    (wanted,) = of_torch(tmp_path / "run/stages/01-train", *longer.values())
    np.testing.assert_allclose(outputs["logits"], wanted, atol=1e-4)


SEGMENTS = {"name": "tensor-classification", "arguments": {"class_axis": {"logits": 1}}}


def test_pixels_are_classified_pruned_and_quantized(tmp_path: Path) -> None:
    made = arrays.scenes()
    report = run(
        tmp_path,
        made,
        task=SEGMENTS,
        model={"python": "tests.tasks.nets:Segments"},
        measure={**MEASURE, "metric": "mean_iou"},
        stages=[
            {"use": "train", **training(6, 0.01)},
            {"use": "prune", "target": {"macs": 0.7}, "round_to": 1, "recovery": training(2)},
            {"use": "export", "name": "float"},
            QUANTIZE,
            {"use": "export"},
        ],
    )
    untrained, trained, pruned, _, small, _ = report.stages
    assert trained.quality.metric == "mean_iou"
    assert trained.quality.value > 0.8 > untrained.quality.value
    assert small.quality.value > pruned.quality.value - 0.1
    assert small.vs_previous is not None
    assert small.vs_previous.test == "bootstrap"
    outputs, said = answers(tmp_path / "run", {"image": made["image"][:2]})
    assert outputs["logits"].shape == (2, 3, 12, 12)
    found = [answer["logits"]["class"] for answer in said]
    assert found == outputs["logits"].argmax(1).tolist()
    exact, _ = answers(tmp_path / "run/stages/03-float/bundle", {"image": made["image"][:2]})
    (wanted,) = of_torch(tmp_path / "run/stages/02-prune", made["image"][:2])
    np.testing.assert_allclose(exact["logits"], wanted, atol=1e-4)
