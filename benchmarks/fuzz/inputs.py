"""Right inputs of every kind, tiny, for mutations to begin with."""

from __future__ import annotations

import csv
import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

QUICK = {"batch_sizes": [1], "threads": 1, "rounds": 5, "warmup": 1, "seconds": 0.01, "samples": 8}
TINY: dict[str, Any] = {
    "version": 1,
    "name": "tiny",
    "model": {
        "python": "compress.models.resnet:resnet",
        "arguments": {"blocks": [1], "width": 8, "in_channels": 1, "num_classes": 10},
    },
    "task": "image-classification",
    "data": {"sklearn": "digits", "limit": {"train": 64, "validation": 16, "test": 16}},
    "measure": QUICK,
    "stages": [{"use": "export"}],
}
"""A recipe that runs in two seconds."""


def texts(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """A recipe of a tiny BERT, whose folder is made beside the data's files."""
    model(folder / "model")
    return {
        "version": 1,
        "name": "texts",
        "model": {"transformers": "model"},
        "task": "text-classification",
        "data": {"max_length": 16, **data},
        "measure": QUICK,
        "stages": [{"use": "export"}],
    }


def model(folder: Path) -> None:
    """A tiny BERT with its tokenizer."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        id2label={0: "no", 1: "yes"},
        label2id={"no": 0, "yes": 1},
    )
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=16).save_pretrained(folder)
    (folder / "vocab.txt").unlink(missing_ok=True)


ROWS = [{"text": word, "label": label} for word, label in (("good", "yes"), ("bad", "no"))] * 12


def _csv(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(ROWS)


def _json(path: Path) -> None:
    path.write_text("\n".join(json.dumps(row) for row in ROWS), encoding="utf-8")


def _parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(ROWS), path)


def _arrow(path: Path) -> None:
    import pyarrow as pa

    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)


TABLES: dict[str, Callable[[Path], None]] = {
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "arrow": _arrow,
}
"""Writers of tables by the loader's name, which is the files' ending too."""
IDX = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")


def idx(folder: Path) -> dict[str, Any]:
    """The MNIST family's files, and the recipe that reads them."""
    folder.mkdir(parents=True)
    for prefix, count in (("train", 40), ("t10k", 10)):
        images = struct.pack(">4i", 2051, count, 8, 8) + bytes(range(64)) * count
        labels = struct.pack(">2i", 2049, count) + bytes(n % 10 for n in range(count))
        for name, content in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(content, mtime=0))
    return {**TINY, "name": "idx", "data": {"idx": str(folder.name)}}


def images(folder: Path) -> dict[str, Any]:
    """A folder of images by class, and the recipe that reads it."""
    from PIL import Image

    for label in range(10):
        (folder / "train" / str(label)).mkdir(parents=True)
        for number in range(3):
            image = Image.new("L", (8, 8), color=20 * label + number)
            image.save(folder / "train" / str(label) / f"{number}.png")
    return {
        **TINY,
        "name": "images",
        "data": {
            "huggingface": "imagefolder",
            "folder": folder.name,
            "image": {"size": [8, 8], "mean": [0.5], "std": [0.5], "channels": 1},
        },
    }


def written(recipe: dict[str, Any], path: Path) -> Path:
    """The recipe as a YAML file."""
    path.write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
