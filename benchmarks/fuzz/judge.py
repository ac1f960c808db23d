"""One command in this process, and whether it ended as every command must."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compress.cli import main

CODES = (0, 1, 2, 3, 130)
LONGEST = 2_000
"""Characters of one message."""
_FAULT = re.compile(r"fault of compress|Traceback \(most recent call last\)")


@dataclass(frozen=True)
class Evaluation:
    """How a command ended.

    Attributes
    ----------
    code : its exit code.
    wrong : what it may not do and did, one line each.
    said : its output, both streams.
    """

    code: int
    wrong: tuple[str, ...]
    said: str = field(repr=False, default="")


def judged(arguments: Sequence[str], *, folder: Path, output: Path) -> Evaluation:
    """Run a command; nothing in `folder` may change, but for what is below `output`."""
    before = contents(folder, besides=output)
    streams = io.StringIO(), io.StringIO()
    wrong: list[str] = []
    code: object = None
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code
        except BaseException as error:  # noqa: BLE001 (whatever got past the command is found)
            wrong.append(f"raised {type(error).__name__}: {str(error)[:200]}")
    code = 0 if code is None and not wrong else code
    output_text, errors = (stream.getvalue() for stream in streams)
    said = output_text + errors
    if code not in CODES and not wrong:
        wrong.append(f"exit code {code!r}")
    if _FAULT.search(said):
        wrong.append("unhandled: " + said.strip()[-400:])
    if code in (2, 3) and "error:" not in errors and "Error" not in errors:
        wrong.append(f"exit code {code} without a message")
    if any(len(line) > LONGEST for line in errors.splitlines()):
        wrong.append(f"a message of {max(map(len, errors.splitlines())):,} characters")
    after = contents(folder, besides=output)
    wrong += [f"wrote {name}" for name in sorted(after) if before.get(name) != after[name]]
    wrong += [f"removed {name}" for name in sorted(before.keys() - after.keys())]
    return Evaluation(code if isinstance(code, int) else -1, tuple(wrong), said)


def contents(folder: Path, *, besides: Path) -> dict[str, str]:
    """The digest of every file below a folder, by its path; "folder" for folders."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        )
        for path in folder.rglob("*")
        if not path.is_relative_to(besides)
    }
