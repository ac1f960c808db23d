"""The files of a run's linear rival, which is trained once: its figures, and its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.core.files.atomic import write_bytes, write_text
from compress.core.files.owned import has_digest
from compress.core.files.sealed import sealed, unsealed

FOLDER = "baseline"
_FIGURES, _ANSWERS = "baseline.json", "answers.safetensors"
_SCHEMA = 1


class RivalFiles:
    """The rival's files in a folder of the run alone.

    Parameters
    ----------
    own : that folder; the rival's is inside it.
    work : a folder for unfinished files.
    """

    def __init__(self, own: Path, *, work: Path) -> None:
        self._folder, self._work = own / FOLDER, work

    def save(self, key: str, figures: Mapping[str, Any], *, answers: bytes) -> None:
        """Write figures and answers in place of earlier ones.

        Parameters
        ----------
        key : the digest of all that decides them.
        figures : plain JSON.
        """
        write_bytes(self._folder / _ANSWERS, answers, aside_in=self._work)
        document = {
            "schema": _SCHEMA,
            "key": key,
            "figures": figures,
            "answers": hashlib.sha256(answers).hexdigest(),
        }
        write_text(self._folder / _FIGURES, sealed(document), aside_in=self._work)

    def find(self, key: str) -> tuple[dict[str, Any], Path] | None:
        """Return the figures under a key and the path of the answers; None if one isn't whole.

        Raises
        ------
        InputError : a later version of compress wrote them.
        """
        saved = unsealed(self._folder / _FIGURES, schema=_SCHEMA)
        if saved is None or saved.get("key") != key:
            return None
        if not has_digest(self._folder, _ANSWERS, str(saved.get("answers"))):
            return None
        figures: dict[str, Any] = saved["figures"]
        return figures, self._folder / _ANSWERS

    def forget(self) -> None:
        """Remove the files."""
        for name in (_FIGURES, _ANSWERS):
            (self._folder / name).unlink(missing_ok=True)
