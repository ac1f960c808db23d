"""The folder of a run: its marker, its lock and its layout.

A run changes nothing in a folder without the marker of a run. In a marked folder the files of runs
are known by the digests in their records. All other files are the user's: they stay where they are,
or are kept under another name. Unfinished files lie in a folder of their own, `.compress/`. A
killed run leaves them there, and the next run removes them.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from compress.core.files.atomic import ASIDE
from compress.core.files.owned import is_folder, is_plain_file, keep
from compress.errors import InputError, clipped
from compress.report.document import STAGES
from compress.runner.folder.marker import MARKER, identity_of, mark, require_usable
from compress.runner.folder.rival import FOLDER as RIVAL
from compress.runner.folder.rival import RivalFiles
from compress.runner.folder.shared import forget_shared, tidy_shared
from compress.runner.folder.slots import KEPT as KEPT_FOLDER
from compress.runner.folder.slots import Slot, Slots
from compress.runner.folder.top_files import KEPT as KEPT_FILE
from compress.runner.folder.top_files import TopFiles

__all__ = ["OWN_NAMES", "Slot", "Workdir"]

_OWN, _STAGES, _SHARED = ".compress", STAGES, "shared"
OWN_NAMES = (MARKER, _OWN, _STAGES)
"""Names at the top of a run's folder that no file of a bundle may have."""
_WORK = re.compile(rf"(put|scratch)-[0-9a-f]{{8}}|{ASIDE}")
"""Names that a killed run leaves in the folder for unfinished work."""


class Workdir:
    """`exports/<name>/`.

    Parameters
    ----------
    root : the run's folder; made by `open`.

    Attributes
    ----------
    rival : the files of the linear rival.
    notes : sentences for the report on files that were kept, and on stages that were done again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stages = root / _STAGES
        self.shared = self.stages / _SHARED
        self.notes: list[str] = []
        self._own = root / _OWN
        self._work = self._own / "aside"
        self.rival = RivalFiles(self._own, work=self._work)
        self._slots = Slots(self.stages, own=self._own, work=self._work, note=self.note)
        self._top: TopFiles | None = None

    @property
    def top(self) -> TopFiles:
        """The files at the top of the folder, while it is open."""
        if self._top is None:
            raise TypeError("the folder of a run must be open.")
        return self._top

    def require_usable(self) -> None:
        """Check that `open` may use the folder; write nothing.

        Raises
        ------
        InputError : it holds something else than a run, or it is no folder.
        """
        require_usable(self.root)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the folder and keep other runs out of it while the context lasts.

        Raises
        ------
        InputError : the folder holds something else than a run, can't be written to, belongs to a
            later version, or is used by another run.
        """
        identity = mark(self.root)
        with ExitStack() as opened:
            try:
                self._claim_folders()
                opened.enter_context(FileLock(self._lock(), timeout=0))
            except Timeout as error:
                raise InputError(f"another run is writing to {self.root}.") from error
            except OSError as error:
                raise InputError(
                    f"{clipped(str(self.root))} can't be written to: {error.strerror}. "
                    "Name another folder with --output."
                ) from error
            self._top = self._top_files(identity)
            self._top.recover()
            self._slots.recover()
            tidy_shared(self.shared)
            self._drop_work()
            yield

    def join(self) -> None:
        """Make `top` usable in a folder that this process keeps open already.

        Raises
        ------
        InputError : it is no folder of a run, or its files are being replaced at this moment.
        """
        top = self._top_files(identity_of(self.root))
        top.join()
        self._top = top

    def forget(self) -> None:
        """Remove every stage's files, and the files that stages share (`--fresh`)."""
        self._slots.forget()
        self.rival.forget()
        if not forget_shared(self.shared):
            kept = keep(self.shared, KEPT_FOLDER)
            self.note(f"what no run had written in stages/{_SHARED} is kept as stages/{kept.name}")
        self.shared.mkdir(exist_ok=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder; the context removes it, or else the next run."""
        folder = self._work / f"scratch-{secrets.token_hex(4)}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # the next run removes what is left

    def begin(self, slot: Slot) -> Path:
        """See `Slots.begin`."""
        return self._slots.begin(slot)

    def commit(self, slot: Slot, record: Mapping[str, Any]) -> Path:
        """See `Slots.commit`."""
        return self._slots.commit(slot, record)

    def find(self, slot: Slot, key: str) -> dict[str, Any] | None:
        """See `Slots.find`."""
        return self._slots.find(slot, key)

    def folder(self, slot: Slot) -> Path:
        """Return the folder of a committed stage."""
        return self._slots.folder(slot)

    def save_row(self, slot: Slot, key: str, row: Mapping[str, Any], *, answers: bytes) -> None:
        """See `Slots.save_row`."""
        self._slots.save_row(slot, key, row, answers=answers)

    def find_row(self, slot: Slot, key: str) -> dict[str, Any] | None:
        """See `Slots.find_row`."""
        return self._slots.find_row(slot, key)

    def trim(self, count: int) -> None:
        """See `Slots.trim`."""
        self._slots.trim(count)

    def _top_files(self, identity: str) -> TopFiles:
        return TopFiles(
            self.root, own=self._own, work=self._work, identity=identity, note=self.note
        )

    def note(self, *sentences: str) -> None:
        """Add to `notes`, each sentence once."""
        self.notes += [each for each in dict.fromkeys(sentences) if each not in self.notes]

    def _claim_folders(self) -> None:
        building = (self._slots.building, self._slots.leaving)
        rival = self._own / RIVAL
        for folder in (self._own, self._work, rival, *building, self.stages, self.shared):
            if os.path.lexists(folder) and not is_folder(folder):
                self._keep(folder)
            folder.mkdir(exist_ok=True)

    def _lock(self) -> Path:
        """Return the path of the lock, an empty file; move anything else there out of the way."""
        path = self._own / "lock"
        if os.path.lexists(path) and not (is_plain_file(path) and path.stat().st_size == 0):
            self._keep(path)
        return path

    def _keep(self, path: Path) -> None:
        form = KEPT_FOLDER if path.parent == self.stages else KEPT_FILE
        kept = keep(path, form)
        shown = [each.relative_to(self.root).as_posix() for each in (path, kept)]
        self.note("{} wasn't as a run had left it; it is kept as {}".format(*shown))

    def _drop_work(self) -> None:
        for path in self._work.iterdir():
            if _WORK.fullmatch(path.name) is None:
                continue
            if is_folder(path):
                shutil.rmtree(path)
            elif is_plain_file(path):
                path.unlink()
