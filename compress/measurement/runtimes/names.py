"""The runtimes that a recipe can name, and whether they are installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal

Runtime = Literal["onnxruntime", "openvino"]
"""A runtime in which a model can be timed."""
ONNXRUNTIME: Literal["onnxruntime"] = "onnxruntime"
OPENVINO: Literal["openvino"] = "openvino"
WORDS: dict[str, str] = {ONNXRUNTIME: "ONNX Runtime", OPENVINO: "OpenVINO"}
"""Each runtime's name in text."""


def missing(packages: Sequence[str]) -> str | None:
    """Return what to install, as part of a sentence; None if all packages are installed.

    Parameters
    ----------
    packages : packages of the extra `openvino`.
    """
    absent = [name for name in packages if not _is_installed(name)]
    if not absent:
        return None
    return f"needs {' and '.join(absent)}: pip install 'compress[openvino]'."


def _is_installed(package: str) -> bool:
    """Return whether a package can be imported; a folder of that name, without code, can't."""
    found = find_spec(package)
    return found is not None and found.origin is not None
