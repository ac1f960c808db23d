"""Makes a model's structure without its weights, on torch's meta device: it takes no memory.

No function that a recipe names is called here, since a recipe check uses this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from compress.core.artifact import ModelSource
from compress.core.foreign.boundary import reading
from compress.errors import ModelError, clipped
from compress.models.source import TransformersSource
from compress.models.spec import ModelSpec
from compress.models.transformers.configs import auto_class_of, config_of, part_for
from compress.models.transformers.quiet import quiet_transformers
from compress.models.weights.weightless import without_weights

if TYPE_CHECKING:
    from compress.core.context import Task


def skeleton(spec: ModelSpec, *, task: Task) -> tuple[nn.Module, ModelSource]:
    """The transformers model that `compress.models.load.load_model` would load, and its source.

    Raises
    ------
    ModelError : the config can't be found or makes no such model, or the spec names a function.
    """
    if spec.python is not None:
        raise ModelError(f"{spec.python!r} isn't called before the run.")
    with without_weights():
        return _pretrained(spec, str(spec.transformers), task=task)


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters by name. Shared ones stand there once."""
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def _pretrained(spec: ModelSpec, name: str, *, task: Task) -> tuple[nn.Module, TransformersSource]:
    import transformers

    with quiet_transformers():
        config = config_of(spec, name)
        failed = f"the config of {clipped(repr(name))} makes no model"
        with reading(name, error=ModelError, failed=failed):
            auto_class = getattr(transformers, auto_class_of(config, task))
            module = part_for(auto_class.from_config(config, trust_remote_code=False), task)
    return module, TransformersSource.of(module)
