"""The folder of a run: each stage's files, written aside and renamed when they are whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from compress.core.files import file_digest, write_text
from compress.errors import InputError

_RECORD = "stage.json"
_ROW = "row.json"
_PARTIAL = ".partial"
_OLD = ".old"


@dataclass(frozen=True)
class Slot:
    """The place of one stage: its position and name in the pipeline."""

    index: int
    name: str

    @property
    def folder(self) -> str:
        """Folder name, such as "02-prune"."""
        return f"{self.index:02d}-{self.name}"


class Workdir:
    """`exports/<name>/`.

    Parameters
    ----------
    root : the run's folder; made by `open`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stages = root / "stages"

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the folder and keep other runs out of it while the context lasts.

        Raises
        ------
        InputError : the folder holds something that isn't a run, or another run is using it.
        """
        if self.root.exists() and not self.stages.is_dir():
            empty = self.root.is_dir() and not any(self.root.iterdir())
            if not empty:
                raise InputError(
                    f"{self.root} isn't empty and isn't the folder of an earlier run. "
                    "Name another with --output."
                )
        self.stages.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.stages / ".lock", timeout=0):
                self._tidy()
                yield
        except Timeout as error:
            raise InputError(f"another run is writing to {self.root}.") from error

    def _tidy(self) -> None:
        """Finish or drop what a killed run left."""
        for partial in self.stages.glob(f"*{_PARTIAL}"):
            if (partial / _RECORD).is_file():
                self._swap(partial)
            else:
                shutil.rmtree(partial)
        for old in self.stages.glob(f"*{_OLD}"):
            shutil.rmtree(old)

    def _swap(self, partial: Path) -> Path:
        final = partial.with_name(partial.name.removesuffix(_PARTIAL))
        for old in self.stages.glob(f"{partial.name[:2]}-*"):
            if old != partial and not old.name.endswith(_OLD):
                old.rename(old.with_name(old.name + _OLD))
        partial.rename(final)
        for old in self.stages.glob(f"*{_OLD}"):
            shutil.rmtree(old)
        return final

    def forget(self) -> None:
        """Remove every stage's files (`--fresh`)."""
        for path in self.stages.iterdir():
            if path.is_dir():
                shutil.rmtree(path)

    def begin(self, slot: Slot) -> Path:
        """An empty folder for a stage to work in."""
        partial = self.stages / f"{slot.folder}{_PARTIAL}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        return partial

    def commit(self, slot: Slot, record: dict[str, Any]) -> Path:
        """Keep what `begin` gave, now whole, in place of what was there; returns its folder.

        Parameters
        ----------
        record : plain JSON that `find` gives back; holds the "key". Files' digests are added.
        """
        partial = self.stages / f"{slot.folder}{_PARTIAL}"
        files = {
            str(path.relative_to(partial)): file_digest(path)
            for path in sorted(partial.rglob("*"))
            if path.is_file()
        }
        for name in files:
            _flush(partial / name)
        write_text(partial / _RECORD, json.dumps({**record, "files": files}, indent=2) + "\n")
        return self._swap(partial)

    def find(self, slot: Slot, key: str) -> dict[str, Any] | None:
        """The record of a finished stage with that key whose files are whole, or None."""
        folder = self.stages / slot.folder
        path = folder / _RECORD
        if not path.is_file():
            return None
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record["key"] != key:
            return None
        for name, sha in record["files"].items():
            file = folder / name
            if not file.is_file() or file_digest(file) != sha:
                return None
        return record

    def folder(self, slot: Slot) -> Path:
        """Where a committed stage lies."""
        return self.stages / slot.folder

    def save_row(self, slot: Slot, key: str, row: dict[str, Any]) -> None:
        """Keep a stage's measured row."""
        text = json.dumps({"key": key, "row": row}, indent=2) + "\n"
        write_text(self.folder(slot) / _ROW, text)

    def find_row(self, slot: Slot, key: str) -> dict[str, Any] | None:
        """The row that was measured under that key, or None."""
        path = self.folder(slot) / _ROW
        if not path.is_file():
            return None
        saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        row: dict[str, Any] = saved["row"]
        return row if saved["key"] == key else None

    def trim(self, count: int) -> None:
        """Remove stages beyond the first `count`: they belong to a longer recipe of the past."""
        for path in self.stages.iterdir():
            if path.name[:2].isdigit() and int(path.name.split("-")[0]) >= count:
                shutil.rmtree(path)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
