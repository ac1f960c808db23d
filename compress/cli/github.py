"""Writes reports into the step summary of GitHub Actions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import InputError
from compress.report.markdown import markdown

if TYPE_CHECKING:
    from compress.report.document import Report

_VARIABLE = "GITHUB_STEP_SUMMARY"


def summary_file() -> Path:
    """Return the file that GitHub Actions shows as the summary of a step.

    Raises
    ------
    InputError : the environment names none, or it can't be written to.
    """
    named = os.environ.get(_VARIABLE)
    if not named:
        raise InputError(
            f"--github needs the environment variable {_VARIABLE}, which GitHub Actions sets. "
            "It isn't set."
        )
    path = Path(named)
    try:
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise InputError(f"{path} ({_VARIABLE}) can't be written to: {error.strerror}.") from error
    return path


def append_summary(report: Report, path: Path) -> None:
    """Append a report as Markdown to the summary of a step.

    Raises
    ------
    InputError : the file can't be written to.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{markdown(report)}\n")
    except OSError as error:
        raise InputError(f"{path} ({_VARIABLE}) can't be written to: {error.strerror}.") from error
