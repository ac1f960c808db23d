"""The folder that a run's stages share. It holds caches; their files are known by their names."""

from __future__ import annotations

from pathlib import Path

from compress.core.files.owned import plain_tree, remove_empty
from compress.distillation.cache import names as answers
from compress.quantization.calibration import names as statistics


def tidy_shared(shared: Path) -> None:
    """Remove unfinished files of a killed run."""
    for cache in answers.caches(shared / answers.FOLDER):
        answers.remove_asides(cache)
    for path in statistics.own_files(shared / statistics.FOLDER, aside=True):
        path.unlink()


def forget_shared(shared: Path) -> bool:
    """Remove all files of the caches; return whether nothing else was there.

    The folder itself is removed if it is empty then.
    """
    for cache in answers.caches(shared / answers.FOLDER):
        answers.remove_cache(cache)
    for path in statistics.own_files(shared / statistics.FOLDER, aside=False):
        path.unlink()
    files, folders, others = plain_tree(shared)
    if files or others:
        return False
    remove_empty(shared, folders)
    shared.rmdir()
    return True
