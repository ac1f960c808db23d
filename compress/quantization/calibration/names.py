"""Names of the files in which a calibration's statistics lie: by these they are known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from compress.core.files.atomic import ASIDE
from compress.core.files.owned import is_folder, is_plain_file

FOLDER = "calibration"
"""In the folder that a run's stages share."""
_KEPT = re.compile(r"(extremes|histograms)-[0-9a-f]{32}")


def own_files(folder: Path, *, aside: bool) -> Iterator[Path]:
    """Files of statistics, or else those that a killed process was writing aside."""
    for path in sorted(folder.iterdir()) if is_folder(folder) else ():
        found = re.fullmatch(ASIDE, path.name)
        if aside != (found is not None):
            continue
        if _KEPT.fullmatch(path.name if found is None else found["name"]) and is_plain_file(path):
            yield path
