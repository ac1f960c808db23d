"""Puts the bundle at the top of the run's folder, with its model card and its manifest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.files.atomic import write_text
from compress.core.files.owned import plain_tree
from compress.errors import StageError
from compress.exporting.bundle.layout import link
from compress.exporting.bundle.manifest import MANIFEST, entry, manifest_text
from compress.measurement.cpu import TARGET_KEY, cpu_record
from compress.onnx_graph.metadata import metadata_of, with_metadata
from compress.report.model_card import CARD, model_card
from compress.runner.folder.workdir import OWN_NAMES
from compress.runner.origin import functions_of, license_of
from compress.runner.reporting.write import REPORTS

if TYPE_CHECKING:
    from compress.recipe.schema import Recipe
    from compress.report.document import Report
    from compress.runner.folder.workdir import Workdir
    from compress.runner.origin import Origin

LOCK = "recipe.lock.yaml"
_MODEL = "model.onnx"
_LOCK_HEAD = """\
# The recipe with every default and override filled in. Paths stand here as they were given: change
# those that say too much of your machine before you pass this file on.
"""
_SET = "bundle"
_RESERVED = frozenset({*OWN_NAMES, *REPORTS, LOCK, CARD, MANIFEST})


def publish(
    bundle: Path, workdir: Workdir, recipe: Recipe, *, report: Report, origin: Origin
) -> None:
    """Put a finished bundle, README.md and manifest.json at the top of the run's folder.

    The files are made elsewhere first, and then replace an earlier bundle as a whole. The recipe's
    hash is added to the metadata of the ONNX file, as the stage that wrote it didn't know the hash.

    Parameters
    ----------
    bundle : the folder that `export` filled.
    workdir : the run's folder, open; gets notes.
    report : the report of the whole run.
    origin : digests of the run's inputs.

    Raises
    ------
    StageError : the bundle has a file with a reserved name.
    """
    names, _, _ = plain_tree(bundle)
    for name in names:
        if Path(name).parts[0] in _RESERVED:
            raise StageError(f"the bundle has a file {name!r}, a name that the run itself needs.")
    with workdir.top.replacing(_SET) as made:
        _copy_all(bundle, made, names, recipe)
        write_text(made / LOCK, _LOCK_HEAD + recipe.to_yaml())
        stated, notes = license_of(recipe)
        workdir.note(*notes)
        manifest: dict[str, Any] = {
            "name": recipe.name,
            "task": recipe.task_name,
            **stated,
            "made_from": origin.made_from(recipe),
            "python": functions_of(recipe),
            "recipe_hash": recipe.hash,
            "seed": recipe.seed,
            "cpu": cpu_record(metadata_of(made / _MODEL).get(TARGET_KEY)),
            "environment": report.environment,
            "files": {name: entry(made / name) for name in (*names, LOCK)},
        }
        write_text(made / CARD, model_card(report, manifest))
        manifest["files"][CARD] = entry(made / CARD)
        write_text(made / MANIFEST, manifest_text(manifest))


def _copy_all(bundle: Path, to: Path, names: list[str], recipe: Recipe) -> None:
    """Copy all files; files that are hard links of one another stay hard links."""
    copies: dict[tuple[int, int], Path] = {}
    for name in names:
        source, target = bundle / name, to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        found = source.stat()
        first = copies.setdefault((found.st_dev, found.st_ino), target)
        if first != target:
            link(first, target)
        elif source.suffix == ".onnx":
            with_metadata(source, target, {"recipe_hash": recipe.hash})
        else:
            shutil.copyfile(source, target)
