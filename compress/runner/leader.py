"""Several processes on one run: what the first tells the others. `follower` is what they do."""

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
    """The others may load the model and the data: whatever had to be downloaded is there."""


@dataclass(frozen=True)
class Order:
    """To apply a stage together with the first process.

    Attributes
    ----------
    stage : its place among the recipe's stages, from 0.
    finished : the original model and the stages before.
    reference : place of the reference among `finished`.
    shared : the run's folder for what stages share.
    """

    stage: int
    finished: tuple[Finished, ...]
    reference: int
    shared: Path | None


@dataclass(frozen=True)
class Over:
    """The run has ended; without a report: it failed."""

    report: Report | None


class Leader:
    """What the first process tells the others; nothing where there are none."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._at_work = False

    @contextmanager
    def leading(self) -> Iterator[None]:
        """While it lasts the others wait for orders. They are let go when the run fails; not in
        the middle of common work, where they don't listen: there whoever launched them ends them.
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
        StageError : one of them can't.
        """
        self._tell(Begin())
        self._hear_all_ready()

    def end(self, report: Report) -> None:
        """Let the others go."""
        self._tell(Over(report))

    @contextmanager
    def together(self, order: Order) -> Iterator[None]:
        """While it lasts the others apply the stage too.

        Raises
        ------
        StageError : one of them can't begin; nothing has been applied then.
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
