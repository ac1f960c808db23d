"""`compress check --data`: loads model and data, tries a few rows, and shows what it saw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from compress.core.shown import shown
from compress.recipe.entries import python_entries
from compress.runner.preview.look import look
from compress.runner.preview.words import preview_lines

if TYPE_CHECKING:
    from compress.recipe.schema import Recipe


def try_recipe(recipe: Recipe, *, output: Path | None) -> None:
    """Show what a recipe's model, data and stages look like; nothing is trained or written.

    Raises
    ------
    InputError : something doesn't fit; see `compress.runner.preview.look.look`.
    """
    for entry in python_entries(recipe):
        typer.echo(shown(f"runs code that the recipe names: {entry}"))
    for line in preview_lines(look(recipe, output=output)):
        typer.echo(shown(line))
