"""ONNX files that all tests of a session share, in whichever process they run."""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


class ExportedOnce:
    """Exports each model once.

    Parameters
    ----------
    folder : holds the files. It is the same for all processes of the session.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, export: Callable[[Path], object]) -> Path:
        """Return the model's file, for tests that don't change it.

        `export` : writes the file to the path that it is given. It always writes the same.
        """
        path = self.folder / f"{name}.onnx"
        aside = self.folder / "unfinished" / path.name
        aside.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{name}.lock"):
            if not path.exists():
                export(aside)
                aside.replace(path)
        return path
