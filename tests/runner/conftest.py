"""A folder with the small recipe."""

from pathlib import Path

import pytest

from tests.runner.small_recipe import RECIPE


@pytest.fixture
def recipe_path(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path
