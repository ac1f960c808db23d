"""Finds a transformer's layers."""

from __future__ import annotations

from torch import nn

from compress.errors import StageError

COUNT = "num_hidden_layers"
"""Key of every transformers config with the number of layers."""


def layer_list(module: nn.Module) -> str:
    """Path of the one outermost list of a transformers model's layers.

    Raises
    ------
    StageError : the module has no config that counts its layers, or no single such list.
    """
    total = getattr(getattr(module, "config", None), COUNT, None)
    if not isinstance(total, int):
        raise StageError(
            "layers can be numbered in a transformers model whose config counts them "
            f"({COUNT}) only. Got {type(module).__name__}; name modules by their path."
        )
    found: list[str] = []
    for name, part in module.named_modules():
        alike = isinstance(part, nn.ModuleList) and len({type(layer) for layer in part}) == 1
        nested = any(name.startswith(outer + ".") for outer in found)
        if alike and len(part) == total and any(True for _ in part.parameters()) and not nested:
            found.append(name)
    if len(found) != 1:
        seen = f"{len(found)} ({', '.join(found)})" if found else "none; layers may share weights"
        raise StageError(
            f"{type(module).__name__} must have one list of {total} layers. Found {seen}."
        )
    return found[0]


def layer_paths(module: nn.Module) -> tuple[str, ...]:
    """Paths of a transformers model's layers, in order.

    Raises
    ------
    StageError : see `layer_list`.
    """
    path = layer_list(module)
    return tuple(f"{path}.{name}" for name, _ in module.get_submodule(path).named_children())
