"""Small recipes, and what is said of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from compress.errors import RecipeError
from compress.recipe.load import load_recipe

GOOD = """\
version: 1
name: digits
model: {python: "compress.models.resnet:resnet"}
task: image-classification
data: {sklearn: digits}
stages:
  - use: train
    training: {epochs: 2}
  - use: prune
    target: {macs: 0.5}
  - use: quantize
  - use: export
"""


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A right recipe, in the current folder as r.yaml."""
    monkeypatch.chdir(tmp_path)
    path = Path("r.yaml")
    path.write_text(GOOD)
    return path


@pytest.fixture
def problems(good: Path) -> Callable[..., list[str]]:
    """What is wrong with a text, or with the right recipe after changes to its text."""

    def find(
        text: str | None = None,
        *,
        replace: tuple[str, str] | None = None,
        overrides: tuple[str, ...] = (),
    ) -> list[str]:
        changed = GOOD if text is None else text
        if replace is not None:
            assert replace[0] in changed
            changed = changed.replace(*replace)
        good.write_text(changed)
        try:
            load_recipe(good, overrides=overrides)
        except RecipeError as error:
            return list(error.problems)
        return []

    return find
