"""Reads recipes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.core.files.paths import file_problem
from compress.errors import RecipeError, clipped
from compress.models.onnx_file.beside import preprocessing_of
from compress.models.spec import ModelSpec
from compress.recipe.bounds import MOST_BYTES
from compress.recipe.check import check, check_head
from compress.recipe.document import Document, parse
from compress.recipe.entries import python_entries
from compress.recipe.overrides import apply_overrides
from compress.recipe.schema import Head, Recipe
from compress.stages.contract import Stage

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 24
"""Characters of an ONNX file's name in the name of its run."""


def load_recipe(
    path: str | os.PathLike[str], *, overrides: Sequence[str] = (), python: bool = True
) -> Recipe:
    """Read and check a recipe; nothing is computed, and no heavy library imported.

    Parameters
    ----------
    path : the YAML file. Paths inside it are relative to the current folder.
    overrides : changes in the form "a.b=value", applied in order; see `apply_overrides`.
    python : False refuses a recipe that names functions (`python: package.module:function`).

    Raises
    ------
    RecipeError : the recipe has problems. It holds one line for each, in the order of the file's
        lines; problems of overrides come last.
    """
    document = _document(path)
    apply_overrides(document, overrides)
    recipe = check(document)
    if not python:
        refuse_functions(recipe, document)
    recipe._source = Path(path)
    return recipe


def evaluation_of(
    model: Path, path: Path, *, overrides: Sequence[str] = (), python: bool = True
) -> Recipe:
    """Return a recipe without stages, whose model is an ONNX file, and all else another recipe's.

    Its gates are left out. The file is preprocessed by what lies beside it, or else as the recipe's
    own model is. The only row is named after the file.

    Parameters
    ----------
    model : the ONNX file.
    path : the recipe whose task, data and measurements are taken; no baseline is trained unless it
        asks for one.
    overrides : changes of its keys, such as "model.inputs.ids=input_ids" for the file.
    python : False refuses functions that the recipe names.

    Raises
    ------
    RecipeError : the recipe has problems, or the file can't be its model.
    """
    document = _document(path)
    given = document.data
    if isinstance(given, dict):
        document.data = {
            **{key: value for key, value in given.items() if key not in ("stages", "gates")},
            "model": _model(model, given.get("model")),
        }
    apply_overrides(document, overrides)
    if isinstance(document.data, dict) and (wrong := {"stages", "gates"} & set(document.data)):
        raise RecipeError(
            [f"--set: {sorted(wrong)[0]!r} doesn't go with the measurement of a file."]
        )
    head = check_head(document)
    stem = _NOT_IN_NAMES.sub("-", model.stem).strip("-._")[:_LONGEST].rstrip("-._") or "model"
    keys: dict[str, Any] = {name: getattr(head, name) for name in Head.model_fields}
    keys["name"] = f"{head.name[: 63 - len(stem)]}-{stem}"
    if "baseline" not in head.measure.model_fields_set:
        keys["measure"] = head.measure.model_copy(update={"baseline": None})
    recipe = Recipe.model_construct(**keys, stages=())
    recipe._source, recipe._first_row = path, stem
    if not python:
        refuse_functions(recipe, document)
    return recipe


def recipe_from_dict(given: Mapping[str, Any], *, overrides: Sequence[str] = ()) -> Recipe:
    """Check a recipe that was made in Python.

    Parameters
    ----------
    given : the values that YAML would hold: mappings, lists, strings, numbers, booleans and None.

    Raises
    ------
    RecipeError : as `load_recipe`; each problem begins with "recipe:" instead of a file's line.
    """
    document = Document("recipe:", data=dict(given))
    apply_overrides(document, overrides)
    return check(document)


def recipe_of(stages: Sequence[tuple[str, Stage]], head: Mapping[str, Any]) -> Recipe:
    """Check a recipe whose stages were made in Python.

    Parameters
    ----------
    stages : with their names.
    head : the recipe's other keys; their values are plain, or the specs that a recipe holds.

    Raises
    ------
    RecipeError : as `recipe_from_dict`.
    """
    return check(Document("recipe:", data=_plain(head)), stages)


def head_of(given: Mapping[str, Any]) -> Head:
    """Check a recipe's keys without its stages, given in Python.

    Parameters
    ----------
    given : as `head` of `recipe_of`.

    Raises
    ------
    RecipeError : as `recipe_from_dict`.
    """
    return check_head(Document("recipe:", data=_plain(given)))


def refuse_functions(recipe: Recipe, document: Document | None = None) -> None:
    """Refuse a recipe that names functions of its own.

    Parameters
    ----------
    document : the document that the recipe was read from, for the place of each function.

    Raises
    ------
    RecipeError : the recipe names functions; it holds a line for each.
    """
    document = document or Document("recipe:")
    for entry in python_entries(recipe):
        document.report(entry.keys, entry.refusal)
    if document.problems:
        raise RecipeError([str(problem) for problem in sorted(document.problems)])


def _document(path: str | os.PathLike[str]) -> Document:
    """Return what a recipe's file holds, unchecked."""
    return parse(_read(Path(path), str(path)), str(path))


def _model(model: Path, own: Any) -> dict[str, Any]:
    """Return the keys of the file; the recipe's own model tells its preprocessing, if it can."""
    keys = {"onnx": str(model)}
    if preprocessing_of(ModelSpec(onnx=model)) is None and isinstance(own, dict):
        named = own.get("preprocessing") or own.get("transformers")
        if named is None and isinstance(own.get("onnx"), str):
            named = preprocessing_of(ModelSpec(onnx=Path(own["onnx"])))
        keys |= {} if named is None else {"preprocessing": named}
    return keys


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dict(one) if isinstance(one, Mapping) else one for key, one in given.items()}


def _read(path: Path, name: str) -> str:
    """Return the file's text; a device, a pipe or a very long file isn't read."""
    problem = file_problem(path)
    if problem is not None:
        raise RecipeError([f"{clipped(name)}: this file can't be read: {problem}."])
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise RecipeError([f"{name}: this file can't be read: {said}."]) from error
    if len(content) > MOST_BYTES:
        raise RecipeError([f"{name}: a recipe may be of at most {MOST_BYTES:,} bytes."])
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise RecipeError([f"{name}: this isn't UTF-8 text: {clipped(str(error))}."]) from error
