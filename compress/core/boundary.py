"""The two places where what isn't ours is let in: foreign functions, and what files hold.

Whatever goes wrong in there is an `InputError` that names what it was. An exception that gets past
them is a fault of `compress`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.errors import CompressError, InputError, clipped


@contextmanager
def foreign(name: str, *, error: type[CompressError] = InputError) -> Iterator[None]:
    """Run code that a recipe names: whatever it raises becomes an error that names it.

    `SystemExit`, `MemoryError`, `RecursionError` and groups of exceptions are turned too; Ctrl-C
    and errors of `compress` pass.

    Parameters
    ----------
    name : what is called, such as "package.module:factory".
    error : what is raised.
    """
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit, CompressError):
        raise
    except SystemExit as end:
        raise error(f"{name} ended the program (exit code {end.code!r}).") from end
    except BaseException as raised:  # foreign code may raise anything
        raise error(f"{name} failed: {described(raised)}") from raised


@contextmanager
def reading(what: str | Path, *, error: type[CompressError] = InputError) -> Iterator[None]:
    """Read what a file holds: damage of any kind becomes an error that names the file.

    Content of the wrong encoding, form, type, size or nesting is damage. Errors of `compress`,
    which say more, pass.

    Parameters
    ----------
    what : the file, or words for it.
    error : what is raised.
    """
    try:
        yield
    except CompressError:
        raise
    except Exception as raised:  # parsers of damaged files raise anything
        raise error(f"can't read {what}: {described(raised)}") from raised


def described(raised: BaseException) -> str:
    """An exception in one line of bounded length, its type first where its text says little."""
    text = " ".join(str(raised).split())
    kind = type(raised).__name__
    return clipped(f"{kind}: {text}" if text else kind)
