"""The files at the top of a run's folder: replaced a set at a time, and known by their digests.

The digest of a file is recorded before the file is put there. So it is known as the run's own, even
if the process is killed. Any other file is the user's: it is never overwritten or removed. If a
file of the run needs its place, it is kept under another name.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compress.core.files.atomic import file_digest, write_bytes, write_text
from compress.core.files.owned import (
    Note,
    has_digest,
    is_folder,
    keep,
    parents_of,
    plain_file,
    plain_tree,
    remove_empty,
)
from compress.core.files.sealed import sealed, unsealed
from compress.errors import InputError, StageError

_RECORD = "files.json"
_SCHEMA = 1
_FOLDER = re.compile(r"put-[0-9a-f]{8}")
_NEW, _OLD = "new", "old"
KEPT = "{name}.kept-{number}"
"""The new name of a file that was in the way of a file of the run."""


class TopFiles:
    """The files at the top of one run's folder, in sets by name.

    Parameters
    ----------
    root : the run's folder.
    own : the folder below it that holds the record of these files.
    work : the folder below it where files are made, in entries named `put-` and eight hex digits.
    identity : the id of the run's folder.
    note : takes a sentence for the report.
    """

    def __init__(self, root: Path, *, own: Path, work: Path, identity: str, note: Note) -> None:
        self._root, self._work, self._note = root, work, note
        self._path = own / _RECORD
        self._identity = identity
        self._sets: dict[str, dict[str, str]] = {}
        self._swap: dict[str, Any] | None = None

    def recover(self) -> None:
        """Read the record; undo an unfinished replacement of a killed run.

        Raises
        ------
        InputError : a later version of compress wrote the record.
        """
        if not self._read() and os.path.lexists(self._path):
            kept = keep(self._path, KEPT)
            self._note(
                f"the record of the run's files can't be trusted; it is kept as {kept.name} in "
                f"{kept.parent.name}, and every file of that record counts as one of yours"
            )
        self._roll_back()

    def join(self) -> None:
        """Read the record without repairing anything.

        Raises
        ------
        InputError : the record can't be trusted, or files are being replaced at this moment.
        """
        if not self._read() or self._swap is not None:
            raise InputError(f"the files of {self._root} are being replaced.")

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Give a folder to fill; its files then replace the set's, all of them or none.

        Parameters
        ----------
        name : the set's name.
        """
        folder = self._work / f"put-{secrets.token_hex(4)}"
        (folder / _NEW).mkdir(parents=True)
        (folder / _OLD).mkdir()
        try:
            yield folder / _NEW
            self._replace(name, folder)
        finally:
            if self._swap is None:
                shutil.rmtree(folder, ignore_errors=True)  # the next run removes what is left

    def put(self, name: str, texts: Mapping[str, str]) -> None:
        """Replace a set by files with these texts, by file name.

        Parameters
        ----------
        name : the set's name.
        """
        with self.replacing(name) as folder:
            for file, text in texts.items():
                write_bytes(folder / file, text.encode("utf-8", errors="backslashreplace"))

    def make_way(self, file: str) -> None:
        """Rename what isn't the run's and stands at the path of a file of the run, or above it."""
        for parent in sorted(parents_of([file])):
            if os.path.lexists(self._root / parent) and not is_folder(self._root / parent):
                self._keep(parent)
        if os.path.lexists(self._root / file) and not self._is_own(file):
            self._keep(file)

    def _read(self) -> bool:
        """Read the record; return whether it can be trusted."""
        record = unsealed(self._path, schema=_SCHEMA)
        if record is None or not _is_record(record) or record["id"] != self._identity:
            return False
        self._sets, self._swap = record["sets"], record["swap"]
        return True

    def _is_own(self, file: str) -> bool:
        path = plain_file(self._root, file)
        known = {files[file] for files in self._sets.values() if file in files}
        return path is not None and bool(known) and file_digest(path) in known

    def _keep(self, file: str) -> None:
        kept = keep(self._root / file, KEPT)
        shown = kept.relative_to(self._root).as_posix()
        self._note(f"{file} wasn't as a run had left it; it is kept as {shown}")

    def _replace(self, name: str, folder: Path) -> None:
        self._roll_back()
        files, _, others = plain_tree(folder / _NEW)
        if others:
            raise StageError(f"{others[0]!r} is a link or a special file; it can't be published.")
        new = {file: file_digest(folder / _NEW / file) for file in files}
        for file in files:
            flush(folder / _NEW / file)
        self._save(swap={"set": name, "folder": folder.name, "files": new})
        replaced = False
        try:
            self._move_out(self._sets.get(name, {}), folder / _OLD)
            self._move_in(new, folder / _NEW)
            replaced = True
        finally:
            if not replaced:
                self._roll_back()
        self._save(sets={**self._sets, name: new}, swap=None)

    def _move_out(self, files: Mapping[str, str], to: Path) -> None:
        for file, sha256 in files.items():
            if has_digest(self._root, file, sha256):
                (to / file).parent.mkdir(parents=True, exist_ok=True)
                (self._root / file).rename(to / file)
            elif plain_file(self._root, file) is not None:
                self._keep(file)
        remove_empty(self._root, parents_of(files))

    def _move_in(self, files: Mapping[str, str], source: Path) -> None:
        for file in files:
            self.make_way(file)
            (self._root / file).parent.mkdir(parents=True, exist_ok=True)
            (source / file).rename(self._root / file)

    def _roll_back(self) -> None:
        """Undo an unfinished replacement, if there is one."""
        if self._swap is None:
            return
        new, old = self._swap["files"], self._sets.get(self._swap["set"], {})
        folder = self._work / self._swap["folder"]
        for file, sha256 in new.items():
            if plain_file(folder / _NEW, file) is not None:
                continue
            replaced = sha256 != old.get(file) or plain_file(folder / _OLD, file) is not None
            if replaced and has_digest(self._root, file, sha256):
                (self._root / file).unlink()
        remove_empty(self._root, parents_of(new))
        for file in old:
            there = plain_file(folder / _OLD, file)
            if there is not None and not os.path.lexists(self._root / file):
                (self._root / file).parent.mkdir(parents=True, exist_ok=True)
                there.rename(self._root / file)
        self._save(swap=None)
        shutil.rmtree(folder, ignore_errors=True)

    def _save(
        self, *, swap: dict[str, Any] | None, sets: dict[str, dict[str, str]] | None = None
    ) -> None:
        sets = self._sets if sets is None else sets
        record = {"schema": _SCHEMA, "id": self._identity, "sets": sets, "swap": swap}
        write_text(self._path, sealed(record), aside_in=self._work)
        self._sets, self._swap = sets, swap


def flush(path: Path) -> None:
    """Write a file's buffers to the disk; return when they are there."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _is_record(record: Mapping[str, Any]) -> bool:
    """Return whether a sealed document is a record, as a seal doesn't prove its content."""
    swap, sets = record.get("swap"), record.get("sets")
    return (
        isinstance(sets, dict)
        and all(_are_files(files) for files in sets.values())
        and (swap is None or _is_swap(swap))
        and isinstance(record.get("id"), str)
    )


def _is_swap(swap: object) -> bool:
    return (
        isinstance(swap, dict)
        and isinstance(swap.get("set"), str)
        and _FOLDER.fullmatch(str(swap.get("folder"))) is not None
        and _are_files(swap.get("files"))
    )


def _are_files(files: object) -> bool:
    return isinstance(files, dict) and all(isinstance(sha256, str) for sha256 in files.values())
