"""Names and shapes of a model's parameters, read from its files' headers. No torch here."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from math import prod
from operator import index
from pathlib import Path
from typing import Any

from compress.core.files.paths import file_problem, home_expanded
from compress.core.foreign.boundary import reading
from compress.errors import InputError, ModelError
from compress.models.folder.config_file import read_config
from compress.models.folder.shards import shards
from compress.models.onnx_file.beside import config_folder
from compress.models.spec import ModelSpec, is_folder
from compress.tasks.task import TASKS

Shapes = dict[str, tuple[int, ...]]
"""Shapes of parameters by name. A parameter with several names stands under one of them."""

LAYER_COUNTS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
"""Config keys that hold the number of layers."""
_GENERATORS = ("ForCausalLM", "LMHeadModel")
"""Ends of the names of classes whose files hold just the weights of a text generation model."""
_BUFFERS = re.compile(
    r"(^|\.)(running_mean|running_var|num_batches_tracked|position_ids|inv_freq|masked_bias"
    r"|relative_position_index|attn\.bias)$"
)
_FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
_TIED = ("lm_head.weight",)
_MOST_BYTES = 100_000_000


def stored_config(spec: ModelSpec) -> dict[str, Any] | None:
    """The config.json of a local folder, or of a given ONNX file's; None for any other model."""
    folder = config_folder(spec)
    if spec.transformers is not None and is_folder(spec.transformers):
        folder = home_expanded(spec.transformers)
    if folder is None:
        return None
    try:
        return read_config(folder / "config.json")
    except ModelError:
        return None  # loading reports the reason


def known_config(spec: ModelSpec) -> dict[str, Any]:
    """The config of a local folder or of a recipe, with its overrides; empty for other models."""
    if spec.config is not None:
        return spec.config
    stored = stored_config(spec)
    return {} if stored is None else with_arguments(stored, spec.arguments)


def with_arguments(config: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A config with a recipe's overrides. Its `num_labels` takes precedence over stored names."""
    resized = "num_labels" in arguments and "id2label" not in arguments
    kept = {key: x for key, x in config.items() if not (resized and key == "id2label")}
    return kept | dict(arguments)


def stored_shapes(spec: ModelSpec, *, task: str) -> Shapes | None:
    """Shapes of the parameters in a local transformers folder, without loading them.

    Returns
    -------
    None if the headers don't tell the shapes: there are no safetensors, the class is for another
    task (on loading its head is replaced), or the recipe changes the config.
    """
    config = stored_config(spec)
    if config is None or spec.transformers is None or spec.arguments or not _fits(config, task):
        return None
    return every_shape(spec)


def every_shape(spec: ModelSpec) -> Shapes | None:
    """Shapes of all parameters that the files of a local transformers folder hold, of any class.

    Returns
    -------
    None if there are no safetensors, or no such folder.
    """
    config = stored_config(spec)
    if config is None or spec.transformers is None:
        return None
    shapes: Shapes = {}
    for path in _files(home_expanded(spec.transformers)):
        header = _read_header(path)
        if header is None:
            return None
        shapes |= header
    if config.get("tie_word_embeddings", True):
        for name in _TIED:
            shapes.pop(name, None)
    return shapes or None


def count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Number of elements of all parameters."""
    return sum(prod(shape) for shape in shapes.values())


def layer_count(config: Mapping[str, Any]) -> int | None:
    """Number of layers in a config; None if it doesn't say."""
    found = [config[name] for name in LAYER_COUNTS if isinstance(config.get(name), int)]
    return found[0] if found else None


def without_layers(
    shapes: Mapping[str, tuple[int, ...]], *, kept: tuple[int, ...], total: int
) -> Shapes | None:
    """The shapes without the layers that aren't kept; None if there is no such list of layers."""
    places: dict[str, set[int]] = {}
    for name in shapes:
        for match in re.finditer(r"\.(\d+)\.", name):
            places.setdefault(name[: match.start()], set()).add(int(match[1]))
    lists = [prefix for prefix, found in places.items() if found == set(range(total))]
    outer = [p for p in lists if not any(p.startswith(f"{other}.") for other in lists)]
    if len(outer) != 1:
        return None
    start = f"{outer[0]}."
    return {
        name: shape
        for name, shape in shapes.items()
        if not name.startswith(start) or int(name[len(start) :].split(".")[0]) in kept
    }


def _fits(config: Mapping[str, Any], task: str) -> bool:
    classes = config.get("architectures")
    name = classes[0] if isinstance(classes, list) and len(classes) == 1 else None
    wanted = TASKS.get(task)
    if not isinstance(name, str) or wanted is None:
        return False
    if wanted.target == "next-token":
        return name.endswith(_GENERATORS)
    return name.endswith(wanted.auto_class.removeprefix("AutoModel") or "Model")


def _files(folder: Path) -> list[Path]:
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    index = folder / "model.safetensors.index.json"
    try:
        return shards(index) if index.is_file() else []
    except ModelError:
        return []  # loading reports the reason


def _read_header(path: Path) -> Shapes | None:
    """Shapes in the header of a safetensors file; None if it is damaged (loading reports that).

    The format is a length, then JSON: https://github.com/huggingface/safetensors#format.
    """
    if file_problem(path) is not None:
        return None
    try:
        with reading(path), path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            values = json.loads(file.read(min(length, _MOST_BYTES)))
            return {
                name: tuple(index(size) for size in entry["shape"])
                for name, entry in values.items()
                if name != "__metadata__"
                and entry["dtype"] in _FLOATS
                and not _BUFFERS.search(name)
            }
    except InputError:
        return None
