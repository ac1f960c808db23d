"""A run's folder with stages that are no more than a file, and what lies in a folder."""

import os
from pathlib import Path

from compress.runner.folder.workdir import Slot, Workdir


def finish(workdir: Workdir, slot: Slot, key: str, text: str = "weights") -> Path:
    """Commit a stage that left one file."""
    (workdir.begin(slot) / "checkpoint.safetensors").write_text(text, encoding="utf-8")
    return workdir.commit(slot, {"key": key, "seconds": 1.5})


def names(folder: Path) -> list[str]:
    """What lies in a folder, without what is a run's own."""
    own = (".compress", ".compress-run.json")
    return sorted(path.name for path in folder.iterdir() if path.name not in own)


def stages_in(workdir: Workdir) -> list[str]:
    """What lies beside what stages share."""
    return [name for name in names(workdir.stages) if name != "shared"]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and where every link leads."""
    found = {}
    for here, folders, files in os.walk(folder):
        for name in (*files, *folders):
            path = Path(here) / name
            if path.is_symlink():
                found[str(path.relative_to(folder))] = os.fsencode(path.readlink())
            elif path.is_file():
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found
