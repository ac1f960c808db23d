"""Runs a module on inputs by name, and finds the outputs in what it answers."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn


def answer_of_module(module: nn.Module, inputs: Mapping[str, Tensor], *, generates: bool) -> Any:
    """Return a module's answer.

    A `transformers` model gets the inputs by name, as does a module of several inputs whose
    `forward` has parameters of all these names; any other module gets them by position.

    Parameters
    ----------
    generates : whether the model generates text; it then keeps no cache.
    """
    if is_transformers(module):
        return module(**inputs, **({"use_cache": False} if generates else {}))
    if len(inputs) > 1 and _takes_names(module, inputs):
        return module(**inputs)
    return module(*inputs.values())


def is_transformers(module: nn.Module) -> bool:
    """Return whether a module is a `transformers` model, which takes its inputs by name."""
    # Such a model exists only if transformers is imported already.
    transformers = sys.modules.get("transformers")
    return transformers is not None and isinstance(module, transformers.PreTrainedModel)


def outputs_of_answer(answer: Any, names: Sequence[str], *, task: str) -> dict[str, Tensor]:
    """Return the outputs by name that a module's answer holds.

    Parameters
    ----------
    answer : a tensor; a tuple or list in the order of `names`; or a mapping or an object that has
        the names.

    Raises
    ------
    InputError : the answer lacks an output, or has another number of them.
    """
    from torch import Tensor

    if isinstance(answer, Tensor):
        found: list[Any] = [answer]
    elif isinstance(answer, Mapping):
        found = [answer.get(name) for name in names]
    elif isinstance(answer, tuple | list) and not hasattr(answer, "_fields"):
        found = list(answer)
    else:
        found = [getattr(answer, name, None) for name in names]
    if len(found) != len(names) or not all(isinstance(value, Tensor) for value in found):
        allowed = f"a tensor or an object with '{names[0]}'"
        if len(names) > 1:
            allowed = f"{len(names)} tensors, {', '.join(names)}, in this order or by name"
        raise InputError(f"a model for {task} must return {allowed}. Got {_described(answer)}.")
    return dict(zip(names, found, strict=True))


def _described(answer: Any) -> str:
    kind = type(answer).__name__
    if isinstance(answer, Mapping):
        return f"{kind} with {', '.join(map(str, answer)) or 'nothing'}"
    return f"{kind} of {len(answer)}" if isinstance(answer, tuple | list) else kind


def _takes_names(module: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    parameters = inspect.signature(module.forward).parameters
    return set(inputs) <= set(parameters)
