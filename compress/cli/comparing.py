"""`compress compare`: reads the runs, shows them side by side and writes what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compress.cli.running import stdout_console
from compress.cli.written import require_folder, write_to
from compress.report.comparison.compare import compare
from compress.report.comparison.documents import (
    comparison_html,
    comparison_json,
    comparison_markdown,
)
from compress.report.comparison.runs import read_runs
from compress.report.comparison.terminal import show_comparison


def compare_runs(
    runs: Sequence[Path], *, document: Path | None, markdown: Path | None, html: Path | None
) -> None:
    """Show runs side by side; write JSON, Markdown and HTML to the files that are named.

    Raises
    ------
    InputError : one of them is no run, or a file can't be written.
    """
    wanted = {
        "--json": (document, comparison_json),
        "--markdown": (markdown, comparison_markdown),
        "--html": (html, comparison_html),
    }
    for option, (file, _) in wanted.items():
        if file is not None:
            require_folder(option, file)
    found = compare(read_runs(runs))
    show_comparison(found, stdout_console())
    for option, (file, rendered) in wanted.items():
        if file is not None:
            write_to(option, file, rendered(found))
