"""The key of a stage's result: a digest of everything that affects it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from compress.core.foreign.sources import source_digest, source_files
from compress.data.fingerprint import digest_file, digest_folder
from compress.recipe.entries import named_in, python_entries
from compress.stages.registry import stage_name

if TYPE_CHECKING:
    from compress.core.options import Options
    from compress.recipe.schema import Recipe
    from compress.stages.contract import Stage

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
    """Return the SHA-256 of plain JSON, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def first_key(decisive: Mapping[str, Any]) -> str:
    """Return the key of the original model, from everything that the first stage is given."""
    return digest({**decisive, "libraries": {name: version(name) for name in _LIBRARIES}})


def sources(*options: Options) -> dict[str, str]:
    """Return digests of the code of all functions that these options name, by their names."""
    names = {name for each in options for _, name in named_in(each)}
    return {name: source_digest(name.partition(":")[0]) for name in sorted(names)}


def code_files(recipe: Recipe) -> dict[str, str]:
    """Return the source files of a recipe's functions and foreign stages: path to owner."""
    named = {entry.name.partition(":")[0]: repr(entry.name) for entry in python_entries(recipe)}
    for step in recipe.stages:
        module = type(step.stage).__module__
        if is_foreign(module):
            named.setdefault(module, f"stage {step.name!r}")
    return {
        str(path): who for module, who in named.items() for path in source_files(module).values()
    }


def is_foreign(module: str) -> bool:
    """Return whether a module isn't part of `compress`."""
    return module.partition(".")[0] != "compress"


def next_key(previous: str, stage: Stage) -> str:
    """Return the key of a stage's result, given the key of the stage's input."""
    decisive: dict[str, Any] = {
        "previous": previous,
        "use": stage_name(stage),
        "fields": stage.model_dump(mode="json"),
    }
    read = stage.input_files()
    if read:
        decisive["read"] = [
            digest_folder(path) if path.is_dir() else digest_file(path)
            for path in read
            if path.exists()  # the stage reports a missing one
        ]
    if stage.libraries():
        decisive["libraries"] = {name: version(name) for name in stage.libraries()}
    module = type(stage).__module__
    if is_foreign(module):
        decisive["stage"] = source_digest(module)
    named = sources(stage)
    if named:
        decisive["sources"] = named
    return digest(decisive)
