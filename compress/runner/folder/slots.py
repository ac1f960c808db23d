"""The folders of a run's stages: each holds a record of the files that the run wrote there."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.core.files.atomic import file_digest, write_bytes, write_text
from compress.core.files.owned import (
    Note,
    has_digest,
    is_folder,
    keep,
    plain_tree,
    remove_empty,
    remove_known,
)
from compress.core.files.sealed import sealed, unsealed
from compress.errors import StageError
from compress.report.document import ANSWERS, stage_folder
from compress.runner.folder.top_files import flush

RECORD, ROW = "stage.json", "row.json"
_MEASURED = (ROW, ANSWERS)
"""Files of a stage's measurements; a record keeps digests of all versions of each that may lie in
the folder."""
KEPT = "kept-{number}.{name}"
"""The name of anything that was in the way of a stage's folder. No stage's folder has it."""
_SCHEMA = 1
_FOLDER = re.compile(r"([0-9]{2,})-[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Slot:
    """The place of one stage: its position and name in the pipeline."""

    index: int
    name: str

    @property
    def folder(self) -> str:
        """Folder name, such as "02-prune"."""
        return stage_folder(self.index, self.name)


class Slots:
    """The stages' folders of one run.

    Parameters
    ----------
    stages : the parent folder; users may put files there too.
    own : a folder of the run alone, on the same file system. Stages are made below it, and old ones
        are emptied there.
    work : a folder below `own` for unfinished files.
    note : takes a sentence for the report.
    """

    def __init__(self, stages: Path, *, own: Path, work: Path, note: Note) -> None:
        self._stages, self._work, self._note = stages, work, note
        self.building, self.leaving = own / "building", own / "leaving"

    def recover(self) -> None:
        """Finish or drop the work that a killed run left."""
        for folder in _slot_folders(self.leaving):
            self._empty(folder)
        for folder in _slot_folders(self.building):
            if _record(folder) is None:
                shutil.rmtree(folder)
            else:
                self._put_in_place(folder)

    def begin(self, slot: Slot) -> Path:
        """Return an empty folder for a stage to work in."""
        folder = self.building / slot.folder
        if is_folder(folder):
            shutil.rmtree(folder)
        elif os.path.lexists(folder):
            self._keep(folder)
        folder.mkdir()
        return folder

    def commit(self, slot: Slot, record: Mapping[str, Any]) -> Path:
        """Replace the stage's folder by the finished one that `begin` gave; return the folder.

        Parameters
        ----------
        record : plain JSON that `find` gives back; it holds the "key". Digests of files are added.

        Raises
        ------
        StageError : the stage left links, or files with reserved names.
        """
        building = self.building / slot.folder
        files, folders, others = plain_tree(building)
        if wrong := [*others, *(name for name in (RECORD, *_MEASURED) if name in files)]:
            raise StageError(
                f"the stage left {wrong[0]!r} in its folder; it may leave plain files and folders, "
                f"none of them named {RECORD}, {ROW} or {ANSWERS}."
            )
        for name in files:
            flush(building / name)
        self._write_record(
            building,
            {
                **record,
                "schema": _SCHEMA,
                "files": {name: file_digest(building / name) for name in files},
                "folders": folders,
                "rows": [],
            },
        )
        return self._put_in_place(building)

    def find(self, slot: Slot, key: str) -> dict[str, Any] | None:
        """Return the record of a finished stage with that key and whole files, or None.

        Raises
        ------
        InputError : a later version of compress wrote it.
        """
        folder = self.folder(slot)
        if not is_folder(folder):
            return None
        record = _record(folder)
        if record is None:
            self._again(slot, RECORD)
            return None
        if record["key"] != key:
            return None
        for name, sha256 in record["files"].items():
            if not has_digest(folder, name, sha256):
                self._again(slot, name)
                return None
        return record

    def folder(self, slot: Slot) -> Path:
        """Return the folder of a committed stage."""
        return self._stages / slot.folder

    def save_row(self, slot: Slot, key: str, row: Mapping[str, Any], *, answers: bytes) -> None:
        """Save a committed stage's measured row and answers; add their digests to its record."""
        folder = self.folder(slot)
        record = _record(folder)
        if record is None:
            return
        kept = hashlib.sha256(answers).hexdigest()
        text = sealed({"schema": _SCHEMA, "key": key, "row": row, "answers": kept})
        content = {ANSWERS: answers, ROW: text.encode()}
        digests = {name: self._known(slot, record, name) for name in _MEASURED}
        for name, made in content.items():
            digests[name].append(hashlib.sha256(made).hexdigest())
        self._write_record(folder, {**record, "rows": digests[ROW], "answers": digests[ANSWERS]})
        for name, made in content.items():
            write_bytes(folder / name, made, aside_in=self._work)

    def _known(self, slot: Slot, record: Mapping[str, Any], name: str) -> list[str]:
        """Return the digest of a file of measurements, if a run wrote it; keep any other file."""
        folder = self.folder(slot)
        known = [sha256 for sha256 in _digests(record, name) if has_digest(folder, name, sha256)]
        if not known and os.path.lexists(folder / name):
            kept = keep(folder / name, "{name}.kept-{number}").name
            self._note(f"{slot.folder}/{name} wasn't as a run had left it; it is kept as {kept}")
        return known

    def find_row(self, slot: Slot, key: str) -> dict[str, Any] | None:
        """Return the row that was measured under that key, if its answers are there too, or None.

        Raises
        ------
        InputError : a later version of compress wrote it.
        """
        folder = self.folder(slot)
        if not os.path.lexists(folder / ROW):
            return None
        saved, record = unsealed(folder / ROW, schema=_SCHEMA), _record(folder)
        known = record is not None and any(has_digest(folder, ROW, one) for one in record["rows"])
        if saved is None or not known:
            self._again_measured(slot, ROW)
            return None
        if saved["key"] != key:
            return None
        if not has_digest(folder, ANSWERS, str(saved.get("answers"))):
            self._again_measured(slot, ANSWERS)
            return None
        row: dict[str, Any] = saved["row"]
        return row

    def trim(self, count: int) -> None:
        """Remove stages beyond the first `count`, which belong to an earlier, longer recipe."""
        for folder in _slot_folders(self._stages):
            if _index(folder) >= count and _record(folder) is not None:
                self._empty(self._taken_out(folder))

    def forget(self) -> None:
        """Remove every stage's files."""
        self.trim(0)

    def _put_in_place(self, building: Path) -> Path:
        """Move a finished stage to its place; remove what an earlier run left at its index."""
        target = self._stages / building.name
        earlier = [path for path in _slot_folders(self._stages) if _index(path) == _index(building)]
        old = [self._taken_out(path) for path in earlier if _record(path) is not None]
        if os.path.lexists(target):
            self._keep(target)
        building.rename(target)
        for folder in old:
            self._empty(folder)
        return target

    def _taken_out(self, folder: Path) -> Path:
        target = self.leaving / folder.name
        if os.path.lexists(target):
            self._keep(target)
        return folder.rename(target)

    def _empty(self, folder: Path) -> None:
        """Remove the files in a stage's record, and last the record; rename all other files."""
        record = _record(folder)
        if record is not None:
            remove_known(folder, record["files"])
            for name in _MEASURED:
                for sha256 in _digests(record, name):
                    remove_known(folder, {name: sha256})
            remove_empty(folder, record["folders"])
            (folder / RECORD).unlink()
        if any(folder.iterdir()):
            self._keep(folder)
        else:
            folder.rmdir()

    def _keep(self, path: Path) -> None:
        kept = keep(path, KEPT, folder=self._stages)
        self._note(
            f"what no run had written at stages/{path.name} is kept as "
            f"{kept.relative_to(self._stages.parent).as_posix()}"
        )

    def _again(self, slot: Slot, name: str) -> None:
        self._note(f"{slot.folder} was done again: its {name} wasn't as a run had left it")

    def _again_measured(self, slot: Slot, name: str) -> None:
        self._note(f"{slot.folder} was measured again: its {name} wasn't as a run had left it")

    def _write_record(self, folder: Path, record: Mapping[str, Any]) -> None:
        write_text(folder / RECORD, sealed(record), aside_in=self._work)


def _slot_folders(parent: Path) -> Iterator[Path]:
    """Yield the folders that have a name of a stage's folder; links are left out."""
    for path in sorted(parent.iterdir()):
        if _is_slot(path.name) and is_folder(path):
            yield path


def _is_slot(name: str) -> bool:
    found = _FOLDER.fullmatch(name)
    return found is not None and f"{int(found[1]):02d}" == found[1]


def _index(folder: Path) -> int:
    return int(folder.name.split("-")[0])


def _record(folder: Path) -> dict[str, Any] | None:
    """Return the record in a stage's folder; None if there is none that can be trusted.

    Raises
    ------
    InputError : a later version of compress wrote it.
    """
    record = unsealed(folder / RECORD, schema=_SCHEMA)
    return record if record is not None and _is_record(record) else None


def _digests(record: Mapping[str, Any], name: str) -> list[str]:
    """Return the digests of a file of measurements; earlier versions kept no answers."""
    found: list[str] = record["rows"] if name == ROW else record.get("answers", [])
    return found


def _is_record(record: Mapping[str, Any]) -> bool:
    files, rows, folders = (record.get(key) for key in ("files", "rows", "folders"))
    answers = record.get("answers", [])
    return (
        isinstance(record.get("key"), str)
        and isinstance(files, dict)
        and all(isinstance(sha256, str) for sha256 in files.values())
        and isinstance(rows, list)
        and isinstance(folders, list)
        and isinstance(answers, list)
        and all(isinstance(each, str) for each in (*rows, *folders, *answers))
    )
