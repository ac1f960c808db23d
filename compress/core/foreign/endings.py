"""Work at the end of other work: it is done after a failure too, and doesn't hide the failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from compress.core.foreign.boundary import described


@contextmanager
def afterwards(work: Callable[[], object], *, what: str) -> Iterator[None]:
    """Do `work` after the code inside the context, also if that code failed.

    If both fail, the first error is raised, with a note on the second. A plain `finally` would
    raise the second.

    Parameters
    ----------
    what : words for the work in the note, such as "writing the report".
    """
    try:
        yield
    except BaseException as first:
        try:
            work()
        except Exception as second:  # noqa: BLE001 (whatever it is, it mustn't hide the first)
            first.add_note(f"{what} failed too: {described(second)}")
        raise
    work()
