"""Folders and files as a recipe names them, without weights that mean anything."""

import json
from pathlib import Path
from typing import Any

BERT = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "max_position_embeddings": 64,
    "num_hidden_layers": 6,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}


def model_folder(folder: Path, **changes: Any) -> Path:
    """A folder with a config.json; its weights are never read."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(BERT | changes))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def add_json(folder: Path, name: str, value: Any) -> None:
    """A further JSON file of a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def sentence_folder(
    folder: Path, *, pooling: Any, more: tuple[str, ...] = (), **settings: Any
) -> Path:
    """A folder of sentence-transformers."""
    model_folder(folder, architectures=["BertModel"])
    kinds = ("Transformer", "Pooling", *more)
    paths = ("", "1_Pooling", *(f"{at}_{kind}" for at, kind in enumerate(more, 2)))
    parts = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    add_json(folder, "modules.json", parts)
    add_json(folder, "1_Pooling/config.json", pooling)
    add_json(folder, "sentence_bert_config.json", settings)
    return folder
