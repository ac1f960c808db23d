"""A model's structure without its weights, made on torch's meta device: it takes no memory.

No function that a recipe names is called here: a recipe check needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from compress.core.artifact import ModelSource
from compress.errors import ModelError
from compress.models.source import TransformersSource
from compress.models.spec import ModelSpec

_DRAWS = (torch.Tensor.normal_, torch.Tensor.uniform_)

if TYPE_CHECKING:
    from compress.tasks.task import Task


def skeleton(spec: ModelSpec, *, task: Task) -> tuple[nn.Module, ModelSource]:
    """The transformers model that `compress.models.load.load_model` would load, and its source.

    Raises
    ------
    ModelError : its config can't be found, doesn't make such a model, or it is no such model.
    """
    if spec.python is not None:
        raise ModelError(f"{spec.python!r} isn't called before the run.")
    with without_weights():
        return _pretrained(spec, str(spec.transformers), task=task)


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
            module = getattr(transformers, task.auto_class).from_config(
                config, trust_remote_code=False
            )
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            said = " ".join(str(error).split())
            raise ModelError(f"the config of {name!r} makes no model: {said}") from error
    return module, TransformersSource.of(module)
