"""precisions.json: the files of several precisions in a bundle, and which a machine takes.

The example scripts in Python and JavaScript read these rules and hold none of their own.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from compress.core.foreign.boundary import reading
from compress.errors import InputError, clipped, unknown

BundlePrecision = Literal["fp32", "fp16", "int8", "storage", "q4"]

PRECISIONS_FILE = "precisions.json"
FOLDER = "onnx"
PATHS: Mapping[BundlePrecision, str] = {
    "fp32": f"{FOLDER}/model.onnx",
    "fp16": f"{FOLDER}/model_fp16.onnx",
    "int8": f"{FOLDER}/model_quantized.onnx",
    "storage": f"{FOLDER}/model_storage.onnx",
    "q4": f"{FOLDER}/model_q4.onnx",
}
"""The file of each precision. Transformers.js gives a meaning to every suffix but `_storage`."""
INT8_WORDS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm", "darwin-arm64")
"""Words for CPUs that add 8-bit products in 32 bits: flags of /proc/cpuinfo on x86 and ARM, and
Apple's own CPUs, whose system tells no flags."""
HALF_WORDS = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "MIGraphXExecutionProvider",
    "DmlExecutionProvider",
    "WebGpuExecutionProvider",
    "cuda",
    "dml",
    "shader-f16",
)
"""Words for GPUs that compute in fp16: providers of ONNX Runtime in Python and in Node, and the
feature that WebGPU needs for it."""
_PREFERRED: Sequence[tuple[str, Sequence[str], Sequence[BundlePrecision]]] = (
    ("gpu", HALF_WORDS, ("fp16",)),
    ("gpu", (), ("fp32", "storage", "fp16", "q4", "int8")),
    ("cpu", INT8_WORDS, ("int8",)),
    ("cpu", (), ("storage", "fp32", "q4", "int8", "fp16")),
)
"""Kind of provider, words of which a machine must have one (none: any machine), and precisions, the
best first. INT8 is behind float without such words, and GPUs have few kernels for it. Four bits
lose quality, so they are taken only where nothing else is there."""


def table(precisions: Sequence[BundlePrecision]) -> dict[str, Any]:
    """Return the content of precisions.json.

    Parameters
    ----------
    precisions : those of the bundle; the first is that of model.onnx.

    Returns
    -------
    default; files (path by precision); gpu_providers (of ONNX Runtime in Python); rules (provider,
    words and precision of each; the first that holds decides).
    """
    rules = []
    for provider, words, preferred in _PREFERRED:
        best = next((one for one in preferred if one in precisions), None)
        if best is not None:
            rules.append({"provider": provider, "words": list(words), "precision": best})
    return {
        "default": precisions[0],
        "files": {one: PATHS[one] for one in precisions},
        "gpu_providers": [word for word in HALF_WORDS if word.endswith("ExecutionProvider")],
        "rules": rules,
    }


def chosen(found: Mapping[str, Any], *, provider: str, words: Set[str]) -> str:
    """Return the precision that the rules choose, as the example scripts do.

    Parameters
    ----------
    found : the content of precisions.json.
    provider : "cpu" or "gpu".
    words : what the machine has: flags of its CPU, or the name of its provider.
    """
    return next(
        str(rule["precision"])
        for rule in found["rules"]
        if rule["provider"] == provider and (not rule["words"] or words & set(rule["words"]))
    )


def words_of_cpu() -> set[str]:
    """Return the words for this CPU and its system; on Linux with all flags of the CPU."""
    words = {f"{sys.platform}-{platform.machine().lower()}"}
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        words.update(text.split())
    return words


def read_precisions(folder: Path) -> dict[str, Any] | None:
    """Return a bundle's precisions.json; None if it has one precision.

    Raises
    ------
    InputError : it isn't the table that `table` makes of its precisions.
    """
    path = folder / PRECISIONS_FILE
    if not path.is_file():
        return None
    with reading(PRECISIONS_FILE):
        found = json.loads(path.read_text(encoding="utf-8"))
        default, named = found["default"], list(found["files"])
    for name in named:
        if name not in PATHS:
            raise InputError(f"{PRECISIONS_FILE}: {unknown('precision', name, PATHS)}")
    if default not in named or found != table([default, *(n for n in named if n != default)]):
        raise InputError(
            f"{PRECISIONS_FILE} must hold the files and rules that compress writes for its "
            f"precisions {', '.join(named)}. Got {clipped(repr(found))}"
        )
    return dict(found)
