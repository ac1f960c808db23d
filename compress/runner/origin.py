"""The origin of a run's result, and its license."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.files.paths import home_expanded
from compress.core.foreign.sources import source_digest
from compress.models.folder.license import stated_license
from compress.models.spec import is_folder
from compress.recipe.entries import python_entries
from compress.stages.export import Export

if TYPE_CHECKING:
    from compress.data.spec import DataSpec
    from compress.models.spec import ModelSpec
    from compress.recipe.schema import Recipe


@dataclass(frozen=True)
class Origin:
    """Digests of the inputs of a run.

    Attributes
    ----------
    weights : SHA-256 of the original model's weights; see `compress.models.weights.digests`.
    data : the data's fingerprint.
    """

    weights: str
    data: str

    def made_from(self, recipe: Recipe) -> dict[str, Any]:
        """Return the manifest's `made_from`: model, data and stages, without local paths."""
        return {
            "model": {**_model(recipe.model), "weights_sha256": self.weights},
            "data": {**_data(recipe.data), "fingerprint": self.data},
            "stages": [{"name": step.name, "use": step.use} for step in recipe.stages],
        }


def functions_of(recipe: Recipe) -> list[dict[str, str]]:
    """Return the manifest's `python`: functions that the recipe names, with digests of code."""
    return [
        {
            "key": entry.shown,
            "function": entry.name,
            "source_sha256": source_digest(entry.name.partition(":")[0]),
        }
        for entry in python_entries(recipe)
    ]


def license_of(recipe: Recipe) -> tuple[dict[str, str | None], tuple[str, ...]]:
    """Return the manifest's `license` and `license_from`, null if none is stated, and notes.

    The last `export` stage's `license` takes precedence over the original model's card.
    """
    named = [step.stage.license for step in recipe.stages if isinstance(step.stage, Export)]
    if named and named[-1] is not None:
        return {"license": named[-1], "license_from": "the recipe"}, ()
    found, notes = stated_license(recipe.model)
    return {"license": found, "license_from": found and "the original model's card"}, notes


def _model(spec: ModelSpec) -> dict[str, Any]:
    if spec.transformers is not None:
        folder = is_folder(spec.transformers)
        return {
            "kind": "folder" if folder else "hub",
            "name": _last(spec.transformers) if folder else spec.transformers,
            "revision": spec.revision,
        }
    if spec.config is not None:
        return {"kind": "config", "name": spec.config["model_type"], "revision": None}
    if spec.onnx is not None:
        return {"kind": "onnx", "name": _last(str(spec.onnx)), "revision": None}
    return {"kind": "python", "name": spec.python, "revision": None}


def _data(spec: DataSpec) -> dict[str, Any]:
    if spec.huggingface is not None and spec.from_hub:
        folder = is_folder(spec.huggingface)
        name = _last(spec.huggingface) if folder else spec.huggingface
        return {"kind": "folder" if folder else "hub", "name": name, "revision": spec.revision}
    if spec.huggingface is not None:
        paths = spec.local_paths()
        named = paths[0].parent.name if spec.files else paths[0].name
        return {"kind": spec.huggingface, "name": named, "revision": None}
    named = getattr(spec, spec.source)
    name = _last(str(named)) if isinstance(named, Path) else named
    return {"kind": spec.source, "name": name, "revision": None}


def _last(path: str) -> str:
    return home_expanded(path).resolve().name
