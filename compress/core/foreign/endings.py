"""What must be done at the end of work, also where the work failed: it doesn't hide why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from compress.core.foreign.boundary import described


@contextmanager
def afterwards(work: Callable[[], object], *, what: str) -> Iterator[None]:
    """Do `work` after what is inside, whatever became of that.

    Where both fail, the first error is raised, and the second is a note on it. A plain `finally`
    would raise the second.

    Parameters
    ----------
    what : names the work in the note, such as "writing the report".
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
