"""A warm process that runs case after case, and a watchdog that ends it where one hangs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import time
from contextlib import chdir
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from judge import Evaluation, judged
from kinds import KINDS, OUTPUT, Case, laid_out

PREPARING = 300.0
"""Seconds in which a kind's templates are made."""


class Worker:
    """Runs cases one after another; a process that hangs or dies is replaced by a new one.

    Parameters
    ----------
    folder : for templates, cases and what libraries say.
    limit : seconds of one case.
    """

    def __init__(self, folder: Path, *, limit: float) -> None:
        self._folder, self._limit = folder, limit
        self._process: multiprocessing.process.BaseProcess | None = None
        self._end: Connection | None = None

    def prepare(self, kind: str) -> None:
        """Make the templates of a kind; whoever comes later finds them."""
        said = self._ask(("prepare", kind), limit=PREPARING)
        if said != "prepared":
            raise RuntimeError(f"the templates of {kind} couldn't be made: {said}")

    def run(self, case: Case) -> Evaluation:
        """How a case ends."""
        started = time.monotonic()
        said = self._ask(("run", case), limit=self._limit)
        if isinstance(said, Evaluation):
            return said
        return Evaluation(-1, (f"{said} after {time.monotonic() - started:.0f} s",))

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._end = None

    def _ask(self, question: tuple[str, object], *, limit: float) -> object:
        fresh = self._process is None
        if self._process is None or self._end is None:
            context = multiprocessing.get_context("spawn")
            self._end, other = context.Pipe()
            self._process = context.Process(target=_serve, args=(other, self._folder), daemon=False)
            self._process.start()
            other.close()
        self._end.send(question)
        # A process that has just begun has yet to import what it needs.
        if not self._answers_in(limit + 30 * fresh):
            self.close()
            return "hang: ended"
        try:
            return self._end.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self.close()
            return f"crash: the process died with {code}"

    def _answers_in(self, limit: float) -> bool:
        """Whether an answer comes in so many seconds of computing, or in 15 times as many at all.

        A busy machine lets a process wait.
        """
        assert self._process is not None
        assert self._end is not None
        process = psutil.Process(self._process.pid)
        computed, started = _computed(process), time.monotonic()
        while not self._end.poll(0.2):
            if _computed(process) - computed > limit or time.monotonic() - started > 15 * limit:
                return False
        return True


def _computed(process: psutil.Process) -> float:
    """Seconds of a CPU that a process and those it started have used."""
    total = 0.0
    with contextlib.suppress(psutil.Error):
        for each in (process, *process.children(recursive=True)):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def _serve(end: Connection, folder: Path) -> None:
    os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=str(folder / "cache"), PYTHONWARNINGS="ignore")
    with (folder / "libraries.log").open("ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)  # what is written below Python's streams
        os.dup2(log.fileno(), 2)
    import torch
    import transformers  # noqa: F401

    torch.set_num_threads(1)
    while True:
        try:
            ask, what = end.recv()
        except EOFError:
            return
        if ask == "prepare":
            end.send(_prepared(what, folder / "templates" / what))
        else:
            end.send(_run(what, folder))


def _prepared(kind: str, folder: Path) -> str:
    """ "prepared", or what a command said that should have ended with 0."""
    if not folder.exists():
        KINDS[kind].prepare(folder)
    for template in sorted(folder.iterdir()):
        place = folder.with_name("right")
        shutil.copytree(template, place)
        with chdir(place):
            for arguments in KINDS[kind].right:
                verdict = judged(arguments, folder=place, output=place / OUTPUT)
                if verdict.code or verdict.wrong:
                    return f"{template.name}: {verdict} {verdict.said}"
        shutil.rmtree(place)
    return "prepared"


def _run(case: Case, folder: Path) -> Evaluation:
    place = folder / "cases" / "case"
    shutil.rmtree(place.parent, ignore_errors=True)
    place.parent.mkdir()
    laid_out(case, folder / "templates", place)
    wrong: list[str] = []
    codes, said = [0], ""
    with chdir(place):
        for arguments in case.commands:
            verdict = judged(arguments, folder=place.parent, output=place / OUTPUT)
            codes.append(verdict.code)
            wrong += [f"{arguments[0]}: {line}" for line in verdict.wrong]
            said += verdict.said
    return Evaluation(codes[-1], tuple(wrong), said[-2000:])
