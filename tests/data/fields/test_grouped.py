"""Rows of a query with one document each are samples of a query with all of its documents."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import compress
from compress.errors import CompressError
from compress.recipe.load import recipe_from_dict
from compress.tasks.texts.documents import gains_in
from tests.tasks import texts
from tests.tasks.test_tensors import training

ONE_NUMBER = {**texts.CONFIG, "num_labels": 1}
SPLITS = ("train", "test")


def pairs_of(rows: list[dict[str, Any]], names: dict[str, str]) -> list[dict[str, Any]]:
    """A row for each document; the queries' own take turns, so that none stand together."""
    found = [
        (at, {"query": row["query"], "document": document, "label": gain})
        for row in rows
        for at, (document, gain) in enumerate(
            zip(row["documents"], gains_in(row["label"], row["documents"]), strict=True)
        )
    ]
    found.sort(key=lambda one: one[0])
    return [{names.get(name, name): value for name, value in one.items()} for _, one in found]


def both(folder: Path, names: dict[str, str] | None = None, count: int = 24) -> tuple[Any, Any]:
    """The recipe's `data` of lists and of the same as pairs, of queries that differ."""
    data = texts.write_splits(folder / "lists", "ranking", count)
    files = {}
    for split in SPLITS:
        path = Path(data["files"][split])
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        rows = [{**row, "query": f"{row['query']} {at}"} for at, row in enumerate(rows)]
        _write(path, rows)
        files[split] = str(folder / f"{split}.jsonl")
        _write(Path(files[split]), pairs_of(rows, names or {}))
    return data, {**data, "files": files}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def load(data: dict[str, Any], **more: Any) -> Any:
    return compress.load(model={"config": ONE_NUMBER}, task="text-ranking", data={**data, **more})


def batches(loaded: Any, split: str) -> list[Any]:
    artifact, context = loaded
    return list(context.data.loader(split, artifact.preprocessor, batch_size=7))


@pytest.mark.parametrize("renamed", [False, True], ids=["plain", "renamed"])
def test_pairs_are_the_same_samples_as_lists(renamed: bool, tmp_path: Path) -> None:
    names = {"query": "q", "document": "passage", "label": "grade"} if renamed else {}
    lists, pairs = both(tmp_path, names)
    named: dict[str, Any] = {}
    if renamed:
        inputs = {"query": "q", "document": "passage"}
        named = {"columns": {"inputs": inputs, "label": "grade"}}
    ours, theirs = load(pairs, **named), load(lists)
    for split in ("train", "test"):
        for one, other in zip(batches(ours, split), batches(theirs, split), strict=True):
            assert one.keys() == other.keys()
            for name, value in one.items():
                assert torch.equal(value, other[name]), name
    assert "test: " in " ".join(ours[1].data.notes)
    assert ours[1].data.raw("test", limit=3) == theirs[1].data.raw("test", limit=3)


def test_queries_are_limited_and_carved_whole(tmp_path: Path) -> None:
    _, pairs = both(tmp_path)
    files = {"train": pairs["files"]["train"]}
    _, context = load({**pairs, "files": files}, limit={"test": 2})
    assert len(context.data.splits["test"]) == 2
    seen = [
        {sample["query"] for sample in context.data.samples(split, np.arange(len(samples)))}
        for split, samples in context.data.splits.items()
        if split != "calibration"
    ]
    for at, one in enumerate(seen):
        assert not one & set().union(*seen[at + 1 :])


def test_pairs_train_a_reranker(tmp_path: Path) -> None:
    _, pairs = both(tmp_path, count=240)
    recipe = {
        "version": 1,
        "name": "pairs",
        "model": {"config": ONE_NUMBER},
        "task": "text-ranking",
        "data": {**pairs, "max_length": 16},
        "measure": texts.MEASURE,
        "stages": [{"use": "train", **training(5, 0.01)}],
    }
    report = compress.run(recipe_from_dict(recipe), output=tmp_path / "run", threads=1)
    assert report.stages[-1].quality.value > 0.9
    assert report.stages[-1].quality.samples == 80


@pytest.mark.parametrize(
    ("change", "columns", "sentence"),
    [
        ({"label": -1.0}, {}, r"rows? 0.* of split 'train': the label must be a list of"),
        ({"label": "best"}, {}, "the label must be a list of"),
        ({"query": None}, {}, "row 0 of split 'train': 'query' must be a text, as rows are"),
        ({"document": ""}, {}, r"rows? 0.* of split 'train': 'documents' must be a text that"),
        ({}, {"label": "grade"}, "split 'train': unknown column 'grade'"),
        ({}, {"inputs": {"query": "asked"}}, "unknown column 'asked'"),
        ({}, {"inputs": {"document": "passage"}}, "unknown column 'passage'"),
        ({}, {"inputs": {"passage": "passage"}}, "unknown field of text-ranking 'passage'"),
        (
            {},
            {"inputs": {"document": "document", "documents": "document"}},
            "documents .lists. or document .a row for each.. Got both",
        ),
    ],
)
def test_what_is_wrong_is_told(
    change: dict[str, Any], columns: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    _, pairs = both(tmp_path)
    path = Path(pairs["files"]["train"])
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[0] = {**rows[0], **change}
    _write(path, rows)
    with pytest.raises(CompressError, match=sentence):
        load(pairs, columns=columns)


def test_splits_of_both_kinds_are_refused(tmp_path: Path) -> None:
    lists, pairs = both(tmp_path)
    files = {"train": pairs["files"]["train"], "test": lists["files"]["test"]}
    with pytest.raises(CompressError, match="either all splits have a row for each of documents"):
        load({**pairs, "files": files})
