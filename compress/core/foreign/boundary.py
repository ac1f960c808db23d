"""The boundary to foreign functions and to the content of files.

Whatever goes wrong in them becomes an `InputError` that names the function or the file. An
exception that gets past this boundary is a fault of `compress`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from compress.core.foreign.remote_code import asks, why
from compress.core.foreign.streams import streams_kept
from compress.errors import CompressError, InputError, clipped

_PACKAGE = Path(__file__).parents[2]


@contextmanager
def foreign(name: str, *, error: type[CompressError] = InputError) -> Iterator[None]:
    """Run code that a recipe names: whatever it raises becomes an error that names the code.

    This includes `SystemExit`, `GeneratorExit`, `MemoryError`, `RecursionError` and groups of
    exceptions. Ctrl-C and errors of `compress` pass. Code that closes the standard output or error
    is refused too, and the streams are opened again.

    Parameters
    ----------
    name : the code that is called, such as "package.module:factory".
    error : class of the error that is raised.
    """
    with streams_kept() as closed:
        try:
            yield
        except (KeyboardInterrupt, CompressError):
            raise
        except SystemExit as end:
            raise error(f"{name} ended the program (exit code {said(end.code)}).") from end
        except BaseException as raised:  # foreign code may raise anything
            raise error(f"{name} failed: {described(raised)}") from raised
    if closed:
        raise error(f"{name} closed the {' and the '.join(closed)} of this program.")


@contextmanager
def foreign_within(
    files: Mapping[str, str], *, error: type[CompressError] = InputError
) -> Iterator[None]:
    """Run work of ours that calls foreign code in between, such as a module's `forward`.

    Exceptions of the foreign code become errors as in `foreign`. Exceptions of our own code, and of
    libraries that the foreign code didn't call, pass.

    Parameters
    ----------
    files : name of the code in each source file, by the file's path.
    error : class of the error that is raised.
    """
    try:
        yield
    except (KeyboardInterrupt, CompressError):
        raise
    except SystemExit as end:
        name = _raised_by(end.__traceback__, files) or "code that isn't part of compress"
        raise error(f"{name} ended the program (exit code {said(end.code)}).") from end
    except BaseException as raised:  # as above
        who = _raised_by(raised.__traceback__, files)
        if who is None:
            raise
        raise error(f"{who} failed: {described(raised)}") from raised


def _raised_by(trace: TracebackType | None, files: Mapping[str, str]) -> str | None:
    """Name of the code that was called last, if it lies in one of the files; None if it is ours."""
    found: str | None = None
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if path in files or Path(path).is_relative_to(_PACKAGE):
            found = files.get(path)
        trace = trace.tb_next
    return found


@contextmanager
def reading(
    what: str | Path, *, error: type[CompressError] = InputError, failed: str | None = None
) -> Iterator[None]:
    """Read a file's content: damage of any kind becomes an error that names the file.

    Content of the wrong encoding, form, type, size or nesting counts as damage. Errors of
    `compress`, which say more, pass.

    Parameters
    ----------
    what : the file, or words for it.
    error : class of the error that is raised.
    failed : beginning of the message; None: "can't read" and `what`.
    """
    try:
        yield
    except CompressError:
        raise
    except Exception as raised:  # parsers of damaged files raise anything
        beginning = f"can't read {what}" if failed is None else failed
        raise error(
            f"{beginning}: {why(raised) if asks(raised) else described(raised)}"
        ) from raised


def described(raised: BaseException) -> str:
    """An exception in one line of bounded length, with its type first if its text says little."""
    kind = type(raised).__name__
    try:
        text = " ".join(str(raised).split())
    except (Exception, SystemExit):  # noqa: BLE001 (foreign exceptions may not even have a text)
        text = ""
    return clipped(f"{kind}: {text}" if text else kind)


def said(value: object) -> str:
    """`repr` of a foreign value, in bounded length; the name of its type if `repr` fails."""
    try:
        return clipped(" ".join(repr(value).split()))
    except (Exception, SystemExit):  # noqa: BLE001 (as above)
        return f"a {type(value).__name__}"
