"""Reads config.json of a transformers folder, and bounds its values. No torch here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.core.files.paths import file_problem
from compress.core.foreign.boundary import reading
from compress.errors import ModelError, clipped

MOST_LAYERS = 2_000
"""Layers of a model. Each is several modules; the deepest models have a few hundred layers."""
MOST_LABELS = 1_000_000
"""Classes of an output. A config holds the name of each."""
LARGEST = 10**9
"""Any other number: a single tensor of such a size fills the memory of most machines."""
MOST_BYTES = 50_000_000
"""Bytes of the file."""
_DEPTH = 50
_COUNTS = re.compile(
    r"^(num|n)_\w*(layers?|blocks?|experts?|stages?|groups?|depths?|levels?)$"
    r"|^(\w+_)?(layers|depths?|blocks|experts|stages)$|^(num|n)_(layer|block|stage|expert)s?_\w+$"
)


def read_config(path: Path) -> dict[str, Any]:
    """The values in a config.json.

    Raises
    ------
    ModelError : the file can't be read, isn't a JSON object, or describes a model that can't be
        built.
    """
    problem = file_problem(path)
    if problem is not None:
        raise ModelError(f"{clipped(repr(str(path)))} can't be read: {problem}.")
    if path.stat().st_size > MOST_BYTES:
        raise ModelError(f"{str(path)!r} must be of at most {MOST_BYTES:,} bytes.")
    with reading(f"{str(path)!r} as JSON", error=ModelError):
        values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ModelError(f"{str(path)!r} must hold a JSON object.")
    wrong = config_problem(values)
    if wrong is not None:
        raise ModelError(f"{str(path)!r}: {wrong}")
    return values


def config_problem(values: Mapping[str, Any]) -> str | None:
    """Reason why a config's model can't be built: too many layers, too large numbers, or weights
    that aren't floats. None if it can.
    """
    quantized = values.get("quantization_config")
    if quantized is not None:
        method = quantized.get("quant_method") if isinstance(quantized, Mapping) else quantized
        return (
            f"its weights are quantized ({clipped(str(method), 40)}, in 'quantization_config'); "
            "name the model with float weights."
        )
    waiting: list[tuple[str, int, Any]] = [("", 0, values)]
    while waiting:
        name, depth, value = waiting.pop()
        if depth > _DEPTH:
            return f"it may nest at most {_DEPTH} deep."
        if isinstance(value, Mapping):
            waiting += [(str(key), depth + 1, item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(name, depth + 1, item) for item in value]
        elif (most := _most(name, value)) is not None:
            return f"{clipped(name)!r} must be at most {most:,}. Got {clipped(str(value), 60)}."
    return None


def _most(name: str, value: object) -> int | None:
    """The bound that a number exceeds; None if it exceeds none."""
    if isinstance(value, bool) or not isinstance(value, int) or "seed" in name:
        return None
    most = LARGEST
    if name == "num_labels":
        most = MOST_LABELS
    elif _COUNTS.search(name):
        most = MOST_LAYERS
    return most if abs(value) > most or abs(value) >= LARGEST else None
