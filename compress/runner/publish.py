"""Puts the bundle at the top of the run's folder, with its manifest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.files import write_text
from compress.measurement.environment import environment
from compress.runner.workdir import file_digest

if TYPE_CHECKING:
    from compress.recipe.schema import Recipe

MANIFEST = "manifest.json"
LOCK = "recipe.lock.yaml"


def publish(bundle: Path, root: Path, recipe: Recipe, *, threads: int) -> None:
    """Copy a finished bundle to `root` and write manifest.json; replaces an earlier bundle.

    Parameters
    ----------
    bundle : the folder that `export` filled.
    root : the run's folder.
    threads : torch threads of the run; they decide the weights as the seed does.
    """
    _withdraw(root)
    files = {}
    for source in sorted(path for path in bundle.rglob("*") if path.is_file()):
        name = str(source.relative_to(bundle))
        _copy(source, root / name)
        files[name] = {"sha256": file_digest(root / name), "bytes": source.stat().st_size}
    write_text(root / LOCK, recipe.to_yaml())
    files[LOCK] = {"sha256": file_digest(root / LOCK), "bytes": (root / LOCK).stat().st_size}
    manifest = {
        "schema": 1,
        "name": recipe.name,
        "task": recipe.task,
        "recipe_hash": recipe.hash,
        "seed": recipe.seed,
        "environment": environment(threads=threads),
        "files": files,
    }
    write_text(root / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def _withdraw(root: Path) -> None:
    """Remove what the manifest of an earlier bundle names, so that no stale file stays."""
    manifest = root / MANIFEST
    if not manifest.is_file():
        return
    for name in json.loads(manifest.read_text(encoding="utf-8"))["files"]:
        (root / name).unlink(missing_ok=True)
    manifest.unlink()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.partial")
    shutil.copyfile(source, aside)
    aside.replace(target)
