"""A model's structure without its weights, made on torch's meta device: it takes no memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from compress.core.artifact import ModelSource
from compress.errors import InputError, ModelError
from compress.models.importing import call_entry
from compress.models.source import PythonSource, TransformersSource
from compress.models.spec import ModelSpec

_DRAWS = (torch.Tensor.normal_, torch.Tensor.uniform_)

if TYPE_CHECKING:
    from compress.tasks.task import Task


def skeleton(spec: ModelSpec, *, task: Task) -> tuple[nn.Module, ModelSource]:
    """The module that `compress.models.load.load_model` would load, and its source.

    Raises
    ------
    ModelError : its config or its function can't be found, or don't make such a model.
    """
    with without_weights():
        if spec.python is not None:
            return python_skeleton(spec.python, spec.arguments)
        return _pretrained(spec, str(spec.transformers), task=task)


def python_skeleton(entry: str, arguments: dict[str, object]) -> tuple[nn.Module, PythonSource]:
    """The module that a function makes.

    Raises
    ------
    ModelError : it can't be called, or doesn't make a module on the meta device.
    """
    try:
        with without_weights():
            module = call_entry(entry, dict(arguments))
    except (InputError, RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"{entry!r} can't be called without weights: {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{entry!r} must return a torch.nn.Module. Got {type(module).__name__}.")
    return module, PythonSource(entry, dict(arguments))


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters by name; shared ones once."""
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


@contextmanager
def without_weights() -> Iterator[None]:
    """Modules made meanwhile are on the meta device."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _NothingDrawn():
        yield


class _NothingDrawn(TorchFunctionMode):
    """No random numbers for weights that don't exist: torch would import its compiler for them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in _DRAWS else func(*args, **(kwargs or {}))


def _pretrained(spec: ModelSpec, name: str, *, task: Task) -> tuple[nn.Module, TransformersSource]:
    import transformers

    from compress.models.pretrained import config_of
    from compress.models.quiet import quiet_transformers

    with quiet_transformers():
        config = config_of(spec, name)
        try:
            module = getattr(transformers, task.auto_class).from_config(config)
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            said = " ".join(str(error).split())
            raise ModelError(f"the config of {name!r} makes no model: {said}") from error
    return module, TransformersSource.of(module)
