"""Stages that installed packages add: one that can't be imported is told, whatever it raises."""

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from compress.errors import RecipeError
from compress.stages import registry


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise SystemExit(0)", "ended the program"),
        ("raise ValueError('boom')", "failed: ValueError: boom"),
        ("import no_such_module", "failed: ModuleNotFoundError"),
        ("", "failed: AttributeError"),
    ],
)
def test_a_stage_that_can_not_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "broken_stage.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = EntryPoint("broken", "broken_stage:Broken", registry.GROUP)
    monkeypatch.setattr(registry, "_entry_points", lambda: {"broken": entry})
    with pytest.raises(RecipeError) as caught:
        registry.stage_class("broken")
    [problem] = caught.value.problems
    assert re.search(rf"importing stage 'broken' .* {said}", problem)
    sys.modules.pop("broken_stage", None)
