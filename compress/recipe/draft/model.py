"""What the files of a model say of it, for a draft. Neither torch nor foreign code is imported."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.core.files.paths import exists, only_a_path
from compress.core.foreign.boundary import reading
from compress.core.foreign.entries import entry_problem
from compress.core.foreign.modules import current_directory_importable, find_module
from compress.errors import InputError, ModelError, clipped
from compress.models.folder.header import known_config
from compress.models.spec import ModelSpec

ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""Pattern of "package.module:function"."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
"""Pattern of the name of a model or a data set on the hub."""
REQUIRED = object()
"""Stands for the default of a parameter that has none."""


@dataclass(frozen=True)
class DraftModel:
    """What is known of a model.

    Attributes
    ----------
    word : the model as it was named.
    keys : the recipe's `model`.
    config : config of a transformers model; empty if there is none, or if it isn't here.
    parameters : defaults of a factory's parameters by name, `REQUIRED` for those without; None for
        a default that isn't a plain value. Empty if the factory's source isn't found.
    sentence : whether it is a folder of sentence-transformers.
    """

    word: str
    keys: dict[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sentence: bool = False

    @property
    def is_onnx(self) -> bool:
        """True for an ONNX file, which no stage that needs a torch module can take."""
        return "onnx" in self.keys

    @property
    def is_python(self) -> bool:
        """True for a factory of one's own."""
        return "python" in self.keys

    def spec(self) -> ModelSpec:
        """Return the recipe's `model` as it is checked."""
        return ModelSpec.model_validate(self.keys)


def look_at_model(word: str, arguments: Mapping[str, Any]) -> DraftModel:
    """Return what is known of the model that a word names.

    Parameters
    ----------
    word : a folder with config.json, an ONNX file, "package.module:function", or a hub id.
    arguments : the recipe's `model.arguments`, as far as they are given.

    Raises
    ------
    ModelError : there is no such model, or a folder's files can't be used.
    """
    path, given = Path(word).expanduser(), {"arguments": dict(arguments)} if arguments else {}
    if exists(word):
        if path.is_file() and path.suffix.lower() != ".onnx":
            raise ModelError(_what_a_model_is(word))
        keys = {"onnx": word} if path.is_file() else {"transformers": word, **given}
        for _, said in ModelSpec.model_validate(keys).check(""):
            raise ModelError(said)
        config = known_config(ModelSpec.model_validate(keys))
        return DraftModel(word, keys, config, sentence=(path / "modules.json").is_file())
    if ENTRY.fullmatch(word):
        problem = entry_problem(word)
        if problem is not None:
            raise ModelError(problem)
        return DraftModel(word, {"python": word, **given}, parameters=_parameters(word))
    if HUB_ID.fullmatch(word) and not only_a_path(word):
        return DraftModel(word, {"transformers": word, **given}, _cached_config(word))
    raise ModelError(_what_a_model_is(word))


def _what_a_model_is(word: str) -> str:
    return (
        f"{clipped(repr(word))} is no model: name a folder with config.json and weights, an ONNX "
        "file, a function 'package.module:function' that returns a torch module, or a hub id such "
        "as 'google-bert/bert-base-uncased'."
    )


def _cached_config(name: str) -> Mapping[str, Any]:
    """Return the config of a hub model in the local cache; empty if it isn't there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    if not isinstance(found, str):
        return {}
    with reading(found, error=ModelError):
        values = json.loads(Path(found).read_text(encoding="utf-8"))
    return values if isinstance(values, dict) else {}


def _parameters(entry: str) -> dict[str, Any]:
    """Return the defaults of a factory's parameters, from its source alone."""
    module, _, name = entry.partition(":")
    with current_directory_importable():
        spec = find_module(module)
    origin = None if spec is None else spec.origin
    if origin is None or not origin.endswith(".py"):
        return {}
    try:
        with reading(origin):
            tree = ast.parse(Path(origin).read_text(encoding="utf-8"))
    except InputError:
        return {}  # importing it says what is wrong
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return _defaults(node.args)
        if isinstance(node, ast.ClassDef) and node.name == name:
            return next(
                (
                    _defaults(inner.args)
                    for inner in node.body
                    if isinstance(inner, ast.FunctionDef) and inner.name == "__init__"
                ),
                {},
            )
    return {}


def _defaults(arguments: ast.arguments) -> dict[str, Any]:
    named = [*arguments.posonlyargs, *arguments.args]
    given = [None] * (len(named) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = [*zip(named, given, strict=True)]
    pairs += [*zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return {
        parameter.arg: REQUIRED if default is None else _plain(default)
        for parameter, default in pairs
        if parameter.arg != "self"
    }


def _plain(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
