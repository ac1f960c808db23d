"""Reads class names from a model's config. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.models.spec import ModelSpec
from compress.models.transformers.heads import outputs_of


def labels_of(model: ModelSpec, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the class names that a run will take from the model, in the order of its scores."""
    names = config.get("id2label")
    if isinstance(names, Mapping) and all(str(key).isdecimal() for key in names):
        return tuple(str(names[key]) for key in sorted(names, key=lambda key: int(str(key))))
    if model.transformers is None or not config:
        return ()
    return tuple(f"LABEL_{index}" for index in range(outputs_of(config) or 2))
