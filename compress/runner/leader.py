"""Several processes on one run: the messages of the first to the others (see `follower`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.foreign.boundary import described
from compress.errors import StageError
from compress.training.distributed.processes import Processes

if TYPE_CHECKING:
    from compress.report.document import Report

Finished = tuple[Mapping[str, Any], Path]
"""The record of a finished stage, and its folder."""


@dataclass(frozen=True)
class Begin:
    """Message: load the model and the data, as all downloads are done."""


@dataclass(frozen=True)
class Order:
    """Message: apply a stage together with the first process.

    Attributes
    ----------
    stage : position among the recipe's stages, from 0.
    finished : the original model and the stages before this one.
    reference : position of the reference in `finished`.
    shared : the run's folder for files that stages share.
    """

    stage: int
    finished: tuple[Finished, ...]
    reference: int
    shared: Path | None


@dataclass(frozen=True)
class Over:
    """Message: the run has ended. Without a report, it failed."""

    report: Report | None


class Leader:
    """The first process's side of the messages; it does nothing if there are no others."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._at_work = False

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Let the others wait for orders inside the context, and dismiss them if the run fails.

        During common work they don't listen to messages; there their launcher ends them.
        """
        try:
            yield
        except Exception as error:
            if not self._at_work:
                try:
                    self._tell(Over(None))
                except RuntimeError as second:  # torch's, where one of them is gone
                    error.add_note(f"The other processes weren't told: {described(second)}")
            raise

    def begin(self) -> None:
        """Let the others load model and data.

        Raises
        ------
        StageError : one of them can't load them.
        """
        self._tell(Begin())
        self._hear_all_ready()

    def end(self, report: Report) -> None:
        """Tell the others that the run has ended."""
        self._tell(Over(report))

    @contextmanager
    def together(self, order: Order) -> Iterator[None]:
        """Let the others apply the stage too, inside the context.

        Raises
        ------
        StageError : one of them can't begin; then nothing has been applied.
        """
        self._tell(order)
        self._hear_all_ready()
        self._at_work = True
        yield
        self._at_work = False

    def _tell(self, message: Begin | Order | Over) -> None:
        self.processes.share(message)

    def _hear_all_ready(self) -> None:
        for index, problem in enumerate(self.processes.gather(None)):
            if problem is not None:
                raise StageError(f"process {index}: {problem}")
