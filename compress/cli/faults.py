"""Writes a log of a fault of compress: what a fix needs, without the user's own values."""

from __future__ import annotations

import os
import platform
import re
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from compress.runner.folder.marker import MARKER

FOLDER = "logs"
"""The folder for logs in a run's folder; made when there is a log to keep."""

_PACKAGES = (
    "compress",
    "accelerate",
    "datasets",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pydantic",
    "torch",
    "transformers",
)
_SECRET = re.compile("TOKEN|SECRET|PASSW|CREDENTIAL|KEY", re.IGNORECASE)
_SHORTEST_SECRET = 6


def keep_log(error: BaseException, arguments: Sequence[str], run: Path | None) -> Path | None:
    """Write a log of an exception; return its path, or None if it can't be written.

    The log holds the traceback, versions and the names of the options. It holds no option's value,
    and no value of an environment variable whose name marks it as a secret.

    Parameters
    ----------
    arguments : the command's words.
    run : the folder of a run. The system's folder for temporary files is used if it is None, or if
        the run hadn't begun.
    """
    text = without_secrets(_text(error, arguments))
    try:
        if run is not None and (run / MARKER).is_file():
            folder = run / FOLDER
            folder.mkdir(exist_ok=True)
            stamp = time.strftime("%Y%m%d-%H%M%S")
            handle, name = tempfile.mkstemp(
                dir=folder, prefix=f"fault-{stamp}-", suffix=".log", text=True
            )
        else:
            handle, name = tempfile.mkstemp(prefix="compress-fault-", suffix=".log", text=True)
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError:
        return None
    return Path(name)


def _text(error: BaseException, arguments: Sequence[str]) -> str:
    from importlib.metadata import PackageNotFoundError, version

    lines = [time.strftime("%Y-%m-%d %H:%M:%S %z"), f"Python {platform.python_version()}"]
    lines += [platform.platform()]
    for package in _PACKAGES:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package} isn't installed")
    options = [word.partition("=")[0] for word in arguments if word.startswith("-")]
    lines.append(f"options: {' '.join(options) or 'none'}")
    return "\n".join([*lines, "", "".join(traceback.format_exception(error))])


def without_secrets(text: str) -> str:
    """Return the text without secrets of the environment."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and _SECRET.search(name):
            text = text.replace(value, f"<{name}>")
    return text
