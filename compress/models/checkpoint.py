"""Stores any module whose skeleton a source can rebuild: its tensors, and its changed attributes.

Pruned models have widths and head counts that no config describes. `structure.json` holds them as
plain values, so that loading needs neither pickle nor the library that pruned.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compress.core.artifact import ModelSource
from compress.core.foreign.boundary import reading
from compress.errors import ModelError, few
from compress.models.low_bit.stored import packed, unpacked
from compress.models.source import factory_in, source_from_dict
from compress.models.structure.attention import fit_heads
from compress.models.weights.finite import require_finite

SCHEMA = 1
WEIGHTS = "checkpoint.safetensors"
STRUCTURE = "structure.json"

Value = bool | int | float | list[int]


def save_checkpoint(module: nn.Module, source: ModelSource, directory: Path) -> None:
    """Write `checkpoint.safetensors` and `structure.json`, each atomically.

    Parameters
    ----------
    source : builds a skeleton with the module's submodules and parameter names. Shapes and plain
        attributes (numbers, booleans, lists of whole numbers) may differ.

    Raises
    ------
    ModelError : the skeleton has other submodules, parameters or buffers than the module.
    """
    module, skeleton = packed(module), _build(source)
    names = _tensor_names(skeleton)
    tensors = _named_tensors(module)
    _require_same("submodules", dict(skeleton.named_modules()), dict(module.named_modules()))
    _require_same("parameters and buffers", names, tensors)
    for name, first in names.items():
        if tensors[name] is not tensors[first]:
            raise ModelError(
                f"{name!r} and {first!r} are one tensor in the source, and two in the module."
            )
    directory.mkdir(parents=True, exist_ok=True)
    stored = {
        name: tensors[name].detach().cpu().contiguous().clone()
        for name, first in names.items()
        if name == first
    }
    structure = {
        "schema": SCHEMA,
        "source": source.to_dict(),
        "modules": _changed_attributes(module, skeleton),
    }
    aside = directory / f"{WEIGHTS}.part"
    save_file(stored, aside)
    aside.replace(directory / WEIGHTS)
    aside = directory / f"{STRUCTURE}.part"
    aside.write_text(json.dumps(structure, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    aside.replace(directory / STRUCTURE)


def load_checkpoint(directory: Path, *, python: bool = True) -> tuple[nn.Module, ModelSource]:
    """Rebuild what `save_checkpoint` stored: a module in eval mode on the CPU, and its source.

    If a Python function of a recipe made the module, structure.json names it, and it is called.

    Parameters
    ----------
    python : False refuses to call such a function, for folders from elsewhere.

    Raises
    ------
    ModelError : a file is missing or damaged, the schema is unknown, tensors are missing or left
        over, or a function may not be called.
    StageError : the module has layers in 8 or 4 bits, and bitsandbytes isn't installed.
    """
    structure = _read_structure(directory / STRUCTURE)
    if not python and (named := factory_in(structure["source"])) is not None:
        raise ModelError(f"{str(directory / STRUCTURE)!r} names a function, {named}, to be called.")
    failed = f"{str(directory / WEIGHTS)!r} can't be read"
    with reading(directory / WEIGHTS, error=ModelError, failed=failed):
        tensors = load_file(directory / WEIGHTS)
    source = source_from_dict(structure["source"])
    module = _build(source)
    names = _tensor_names(module)
    needed = [name for name, first in names.items() if name == first]
    for what, keys in (
        ("lacks", [name for name in needed if name not in tensors]),
        ("holds tensors that the model doesn't have:", [n for n in tensors if n not in needed]),
    ):
        if keys:
            raise ModelError(f"{str(directory / WEIGHTS)!r} {what} {few(keys)}.")
    _set_attributes(module, structure["modules"])
    for name, first in names.items():
        if name == first:
            _put(module, [alias for alias, of in names.items() if of == first], tensors[name])
    fit_heads(module)
    require_finite(module, name=f"the checkpoint {str(directory)!r}")
    return unpacked(module).eval(), source


def _build(source: ModelSource) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # the skeleton's random weights are thrown away
        return source.build()


def _named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name. Shared ones stand under each of their names."""
    # state_dict has all names but makes new tensor objects; the module's own show sharing.
    return {
        name: tensor
        for name in module.state_dict()
        if isinstance(tensor := _get(module, name), Tensor)
    }


def _get(module: nn.Module, name: str) -> Any:
    path, _, leaf = name.rpartition(".")
    return getattr(module.get_submodule(path), leaf, None)


def _tensor_names(module: nn.Module) -> dict[str, str]:
    """The first name of each tensor, by each of its names."""
    first: dict[int, str] = {}
    return {
        name: first.setdefault(id(tensor), name) for name, tensor in _named_tensors(module).items()
    }


def _require_same(what: str, skeleton: dict[str, Any], module: dict[str, Any]) -> None:
    lacking = [name for name in skeleton if name not in module]
    added = [name for name in module if name not in skeleton]
    if lacking or added:
        raise ModelError(
            f"the source doesn't rebuild this module: {what} differ "
            f"(only in the source: {few(lacking) or 'none'}; only in the module: "
            f"{few(added) or 'none'})."
        )


def _plain(value: object) -> Value | None:
    """An attribute as JSON; None if it isn't structure."""
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, tuple | list) and all(type(item) is int for item in value):
        return list(value)
    return None


def _attributes(module: nn.Module) -> dict[str, Value]:
    found = {}
    for name, value in vars(module).items():
        plain = _plain(value)
        if plain is not None and name != "training" and not name.startswith("_"):
            found[name] = plain
    return found


def _changed_attributes(module: nn.Module, skeleton: nn.Module) -> dict[str, dict[str, Value]]:
    changed = {}
    for path, part in module.named_modules():
        built = _attributes(skeleton.get_submodule(path))
        own = {name: v for name, v in _attributes(part).items() if built.get(name) != v}
        if own:
            changed[path] = own
    return changed


def _set_attributes(module: nn.Module, modules: dict[str, dict[str, Any]]) -> None:
    for path, attributes in modules.items():
        try:
            part = module.get_submodule(path)
        except AttributeError as error:
            raise ModelError(f"{STRUCTURE} names submodule {path!r}, which isn't there.") from error
        for name, value in attributes.items():
            as_tuple = isinstance(value, list) and isinstance(getattr(part, name, None), tuple)
            setattr(part, name, tuple(value) if as_tuple else value)


def _put(module: nn.Module, names: list[str], tensor: Tensor) -> None:
    """Give a tensor to all the names that share it."""
    old = _get(module, names[0])
    if old.shape == tensor.shape:
        old.data.copy_(tensor)
        return
    new = nn.Parameter(tensor, old.requires_grad) if isinstance(old, nn.Parameter) else tensor
    for name in names:
        path, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(path), leaf, new)


def _read_structure(path: Path) -> dict[str, Any]:
    with reading(path, error=ModelError, failed=f"{str(path)!r} can't be read"):
        values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        schema = values.get("schema") if isinstance(values, dict) else None
        raise ModelError(
            f"{str(path)!r} has schema {schema!r}; this version of compress reads schema {SCHEMA}."
        )
    for key in ("source", "modules"):
        if not isinstance(values.get(key), dict):
            raise ModelError(f"{str(path)!r} has no {key!r}.")
    return values
