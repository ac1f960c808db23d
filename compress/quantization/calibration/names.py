"""Names of the files that hold a calibration's statistics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from compress.core.files.atomic import ASIDE
from compress.core.files.owned import is_folder, is_plain_file

FOLDER = "calibration"
"""Name of the folder of these files, in the folder that a run's stages share."""
_KEPT = re.compile(r"(extremes|histograms)-[0-9a-f]{32}")


def own_files(folder: Path, *, aside: bool) -> Iterator[Path]:
    """Files of statistics, or with `aside` those that a killed process left unfinished."""
    for path in sorted(folder.iterdir()) if is_folder(folder) else ():
        found = re.fullmatch(ASIDE, path.name)
        if aside != (found is not None):
            continue
        if _KEPT.fullmatch(path.name if found is None else found["name"]) and is_plain_file(path):
            yield path
