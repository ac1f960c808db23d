"""`compress init`: drafts a recipe and writes it, never over a file unless that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from compress.core.files.atomic import write_text
from compress.core.files.paths import exists
from compress.core.shown import shown
from compress.errors import InputError, clipped
from compress.recipe.draft.draft import draft_recipe


def write_draft(
    model: str,
    *,
    data: str | None,
    task: str | None,
    goal: str | None,
    overrides: Sequence[str],
    file: Path,
    force: bool,
) -> None:
    """Write a recipe for a model, and say what to do next.

    Raises
    ------
    InputError : the file is there or can't be written, or a recipe can't be drafted; see
        `compress.recipe.draft.draft.draft_recipe`.
    """
    if exists(file) and not force:
        raise InputError(f"{clipped(str(file))} is there already: --force writes over it.")
    text = draft_recipe(model, data=data, task=task, goal=goal, overrides=overrides, file=str(file))
    try:
        write_text(file, text)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise InputError(f"{clipped(str(file))} can't be written: {said}.") from error
    typer.echo(shown(f"wrote {file}: what was guessed stands in its comments"))
    typer.echo(shown(f"next   compress check --data {file}"))
    typer.echo(shown(f"       compress {file}"))
