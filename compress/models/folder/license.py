"""Reads a model's license from its own files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.foreign.boundary import reading
from compress.core.shown import one_line
from compress.errors import InputError, clipped
from compress.models.onnx_file.beside import preprocessing_of
from compress.models.spec import is_folder

if TYPE_CHECKING:
    from compress.models.spec import ModelSpec

CARD, CONFIG = "README.md", "config.json"
_FENCE = "---"
_LICENSE = re.compile(r"^license[ ]*:.*(\n([ \t-].*)?)*$", re.MULTILINE)
"""Pattern of the key with its value, down to the next key."""
_LONGEST = 1000
"""Characters of a license in a card."""


def stated_license(spec: ModelSpec) -> tuple[str | None, tuple[str, ...]]:
    """The license that a model's card names, or else its config.

    A hub model's card is read only from the local cache: nothing is fetched for this.

    Returns
    -------
    The license, None if none is stated; and notes on files that can't be read.
    """
    notes: list[str] = []
    model = spec.transformers
    if spec.onnx is not None and spec.preprocessing is None:
        model = preprocessing_of(spec)  # the file's own folder
    if model is None:
        return None, ()
    for name, read in ((CARD, _of_card), (CONFIG, _of_config)):
        try:
            with reading(f"the license in the original model's {name}"):
                path = _file(spec, model, name)
                found = None if path is None else read(path.read_text(encoding="utf-8"))
        except InputError as error:
            notes.append(str(error))
            continue
        if found is not None:
            return found, tuple(notes)
    return None, tuple(notes)


def _file(spec: ModelSpec, model: str, name: str) -> Path | None:
    if is_folder(model):
        path = Path(model).expanduser() / name
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(model, name, revision=spec.revision)
    return Path(cached) if isinstance(cached, str) else None


def _of_card(text: str) -> str | None:
    """The `license` in a model card's front matter; its other keys aren't parsed."""
    from ruamel.yaml import YAML

    lines = text.splitlines()
    if not lines or lines[0].strip() != _FENCE or _FENCE not in lines[1:]:
        return None
    front = "\n".join(lines[1 : lines.index(_FENCE, 1)])
    found = _LICENSE.search(front)
    if found is None:
        return None
    if len(found[0]) > _LONGEST:
        raise InputError(
            f"the original model's card gives a license of {len(found[0]):,} characters, "
            f"more than {_LONGEST:,}."
        )
    return _text(YAML(typ="safe").load(found[0]))


def _of_config(text: str) -> str | None:
    return _text(json.loads(text))


def _text(values: object) -> str | None:
    found = values.get("license") if isinstance(values, dict) else None
    return clipped(one_line(found), most=200) if isinstance(found, str) and found else None
