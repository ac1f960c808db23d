"""What a model's own files say of its license."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.shown import one_line
from compress.errors import clipped
from compress.models.spec import is_folder

if TYPE_CHECKING:
    from compress.models.spec import ModelSpec

CARD = "README.md"
_FENCE = "---"


def stated_license(spec: ModelSpec) -> str | None:
    """The license that a model's card, or else its config, names; None where none is stated.

    A hub model's card is read only where the local cache holds it: nothing is fetched for this.
    """
    if spec.transformers is None:
        return None
    for name, read in ((CARD, _of_card), ("config.json", _of_config)):
        path = _file(spec, spec.transformers, name)
        if path is not None and (found := read(path.read_text(encoding="utf-8"))) is not None:
            return found
    return None


def _file(spec: ModelSpec, model: str, name: str) -> Path | None:
    if is_folder(model):
        path = Path(model).expanduser() / name
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(model, name, revision=spec.revision)
    return Path(cached) if isinstance(cached, str) else None


def _of_card(text: str) -> str | None:
    """The `license` of a model card's front matter."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    lines = text.splitlines()
    if not lines or lines[0].strip() != _FENCE or _FENCE not in lines[1:]:
        return None
    try:
        values = YAML(typ="safe").load("\n".join(lines[1 : lines.index(_FENCE, 1)]))
    except YAMLError:
        return None  # a card that can't be read states nothing
    return _text(values)


def _of_config(text: str) -> str | None:
    return _text(json.loads(text))


def _text(values: object) -> str | None:
    found = values.get("license") if isinstance(values, dict) else None
    return clipped(one_line(found), most=200) if isinstance(found, str) and found else None
