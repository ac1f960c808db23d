"""The key of a stage's result: a digest of all that decides it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from compress.core.registry import stage_name
from compress.data.fingerprint import digest_file, digest_folder

if TYPE_CHECKING:
    from compress.core.stage import Stage

_LIBRARIES = (
    "accelerate",
    "compress",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "torch",
    "transformers",
)


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of plain JSON, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def first_key(decisive: Mapping[str, Any]) -> str:
    """The key of the original model: everything that is given to the first stage."""
    return digest({**decisive, "libraries": {name: version(name) for name in _LIBRARIES}})


def next_key(previous: str, stage: Stage) -> str:
    """The key of a stage's result, given the key of what the stage was given."""
    decisive: dict[str, Any] = {
        "previous": previous,
        "use": stage_name(stage),
        "fields": stage.model_dump(mode="json"),
    }
    read = stage.reads()
    if read:
        decisive["read"] = [
            digest_folder(path) if path.is_dir() else digest_file(path)
            for path in read
            if path.exists()  # the stage says what is missing
        ]
    return digest(decisive)
