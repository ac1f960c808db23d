"""Does work with foreign ONNX files in a process of its own, which may hang, crash or be ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import IO, Any

import compress.errors
from compress.core.progress import Advance, Progress, Silent
from compress.errors import CompressError, StageError, clipped
from compress.measurement.child.process import WORDS

CALL_SECONDS = 15.0
"""Default time limit of a call, in seconds. After it the process is ended."""
MORE_TIME = "More time is allowed by --call-seconds."
_PROGRAM = (
    "import json, sys\n"
    "sys.path[:] = json.loads(sys.argv[1])\n"
    "from compress.measurement.child.process import serve\n"
    "serve(*map(int, sys.argv[2:]))\n"
)


class _Traceback(Exception):  # noqa: N818 (it is none itself)
    """The traceback of the other process; it is the cause of the error that is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def apart(
    work: str,
    given: Mapping[str, Any],
    *,
    limit_s: float = CALL_SECONDS,
    advice: str = MORE_TIME,
    progress: Progress | None = None,
) -> Iterator[Any]:
    """Yield the items that `work` sends. The process ends with this generator.

    Parameters
    ----------
    work : a `child.Work` of ours, as "package.module:function".
    given : arguments of the work, as plain JSON.
    limit_s : longest time of a single call into a model, in seconds.
    advice : a sentence for whoever waited that long.
    progress : shows the work's progress.

    Raises
    ------
    CompressError : the error that the work raised.
    StageError : a call took too long, or ended the process.
    """
    shown = _Shown(progress or Silent())
    with ExitStack() as stack:
        calls = stack.enter_context(tempfile.TemporaryFile())
        printed = stack.enter_context(tempfile.TemporaryFile())
        process, answers = _started(calls, printed)
        stack.callback(_end, process)
        stack.enter_context(answers)
        stack.callback(shown.close)
        asked = {"work": work, "given": dict(given), "limit_s": limit_s}
        try:
            with process.stdin as pipe:  # type: ignore[union-attr]
                pipe.write(json.dumps(asked).encode("ascii") + b"\n")
        except BrokenPipeError:
            pass  # the process has ended already, which is reported below
        for line in answers:
            kind, content = json.loads(line)
            if kind == "item":
                yield content
            elif kind == "error":
                raise _error(*content)
            elif kind == "fault":
                raise RuntimeError(content[0]) from _Traceback(content[1])
            else:
                shown.show(kind, content)
        code = process.wait()
        if code != 0:
            late = f"took longer than {limit_s:g} s and was ended. {advice}"
            raise StageError(_why(code, _read(calls), _read(printed), late))


def _started(calls: IO[bytes], printed: IO[bytes]) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """A new interpreter with the same module path, and the pipe of its answers."""
    reading, writing = os.pipe()
    passed = (writing, calls.fileno())
    words = [json.dumps(sys.path), *map(str, passed), str(os.getpid())]
    try:
        process = subprocess.Popen(  # noqa: S603 (ours)
            [sys.executable, "-P", "-c", _PROGRAM, *words],
            stdin=subprocess.PIPE,
            stdout=printed,
            stderr=printed,
            pass_fds=passed,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return process, os.fdopen(reading, "rb")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _error(kind: str, message: str) -> CompressError:
    found = getattr(compress.errors, kind, StageError)
    return found(message)


def _why(code: int, call: str, printed: str, late: str) -> str:
    """The cause of the process's end, in a sentence."""
    what = clipped(call) or "starting"
    if code == -signal.SIGALRM:
        return f"{what} {late}"
    last = clipped(printed.splitlines()[-1].strip()) if printed.strip() else ""
    more = f" It said: {last}" if last else ""
    if code < 0:
        name = signal.Signals(-code).name
        return f"{what} ended the process of ONNX Runtime by the signal {name}.{more}"
    return f"{what} ended the process of ONNX Runtime with exit code {code}.{more}"


def _read(file: IO[bytes]) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 8 * WORDS))
    return file.read().rstrip(b"\0").decode("utf-8", "replace")


class _Shown:
    """Shows the progress that another process reports."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._work = ExitStack()
        self._advance: Advance | None = None

    def show(self, kind: str, content: Any) -> None:
        """Show one report."""
        if kind == "say":
            self._progress.say(content)
        elif kind == "track":
            self._advance = self._work.enter_context(self._progress.track(*content))
        elif kind == "advance" and self._advance is not None:
            self._advance(content[0], info=content[1])
        elif kind == "tracked":
            self.close()

    def close(self) -> None:
        """End the piece of work that is shown."""
        self._work.close()
