"""Puts the bundle at the top of the run's folder, with its model card and its manifest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.files import file_digest, write_text
from compress.exporting.layout import link
from compress.exporting.metadata import metadata_of, with_metadata
from compress.measurement.cpu import TARGET_KEY, cpu_record
from compress.report.model_card import CARD, model_card
from compress.runner.origin import functions_of, license_of

if TYPE_CHECKING:
    from compress.recipe.schema import Recipe
    from compress.report.document import Report
    from compress.runner.origin import Origin

MANIFEST = "manifest.json"
LOCK = "recipe.lock.yaml"
_MODEL = "model.onnx"
_LOCK_HEAD = """\
# The recipe with every default and override filled in. Paths stand here as they were given: change
# those that say too much of your machine before you pass this file on.
"""


def publish(bundle: Path, root: Path, recipe: Recipe, *, report: Report, origin: Origin) -> None:
    """Copy a finished bundle to `root` and write README.md and manifest.json there.

    An earlier bundle is replaced. The ONNX file gets the recipe's hash into its metadata, which the
    stage that wrote it didn't know.

    Parameters
    ----------
    bundle : the folder that `export` filled.
    root : the run's folder.
    report : of the whole run.
    origin : what the run began with.
    """
    _withdraw(root)
    names = sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file())
    _copy_all(bundle, root, names, recipe)
    write_text(root / LOCK, _LOCK_HEAD + recipe.to_yaml())
    target = metadata_of(root / _MODEL).get(TARGET_KEY)
    manifest: dict[str, Any] = {
        "schema": 1,
        "name": recipe.name,
        "task": recipe.task,
        **license_of(recipe),
        "made_from": origin.made_from(recipe),
        "python": functions_of(recipe),
        "recipe_hash": recipe.hash,
        "seed": recipe.seed,
        "cpu": cpu_record(target),
        "environment": report.environment,
        "files": {name: _entry(root / name) for name in (*names, LOCK)},
    }
    write_text(root / CARD, model_card(report, manifest))
    manifest["files"][CARD] = _entry(root / CARD)
    write_text(root / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def _copy_all(bundle: Path, root: Path, names: list[str], recipe: Recipe) -> None:
    """Files that are one in the bundle (hard links) are one in `root` too."""
    copies: dict[tuple[int, int], Path] = {}
    for name in names:
        source, target = bundle / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        found = source.stat()
        first = copies.setdefault((found.st_dev, found.st_ino), target)
        if first != target:
            link(first, target)
        elif source.suffix == ".onnx":
            with_metadata(source, target, {"recipe_hash": recipe.hash})
        else:
            _copy(source, target)


def _entry(file: Path) -> dict[str, Any]:
    return {"sha256": file_digest(file), "bytes": file.stat().st_size}


def _withdraw(root: Path) -> None:
    """Remove what the manifest of an earlier bundle names, so that no stale file stays."""
    manifest = root / MANIFEST
    if not manifest.is_file():
        return
    for name in json.loads(manifest.read_text(encoding="utf-8"))["files"]:
        (root / name).unlink(missing_ok=True)
    manifest.unlink()


def _copy(source: Path, target: Path) -> None:
    aside = target.with_name(f".{target.name}.partial")
    shutil.copyfile(source, aside)
    aside.replace(target)
