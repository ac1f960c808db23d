from pathlib import Path

import pytest

from compress.cli.github import append_summary, summary_file
from compress.errors import InputError
from tests.report.samples import make_report


def test_the_summary_is_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    append_summary(make_report(), summary_file())
    text = path.read_text(encoding="utf-8")
    assert text.startswith("before\n# sections\n")
    assert "| accuracy drop |" in text


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    with pytest.raises(InputError, match="needs the environment variable GITHUB_STEP_SUMMARY"):
        summary_file()


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    with pytest.raises(InputError, match="can't be written to"):
        summary_file()
    with pytest.raises(InputError, match="can't be written to"):
        append_summary(make_report(), tmp_path)
