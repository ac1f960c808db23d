"""The boundary to the making and trying of candidates: what fails in it costs a candidate, not the
run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from compress.core.foreign.boundary import described
from compress.errors import CompressError, StageError

Made = TypeVar("Made")


@contextmanager
def attempted() -> Iterator[None]:
    """Run work on a candidate: whatever it raises becomes a `StageError`.

    A graph can have any operator in any form, and libraries fail at them in any way. Errors of
    `compress`, which say more, pass.
    """
    try:
        yield
    except CompressError:
        raise
    except Exception as error:  # a graph that nobody foresaw raises anything
        raise StageError(f"its graph can't be made or run: {described(error)}") from error


def attempt(what: str, work: Callable[[], Made], *, left_out: list[str]) -> Made | None:
    """Return what the work makes. If it fails, add a note to `left_out` and return None."""
    try:
        with attempted():
            return work()
    except StageError as error:
        left_out.append(f"{what} is left out: {error}")
        return None
