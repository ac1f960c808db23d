"""Loads the model that a run begins with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.files.paths import file_problem
from compress.core.foreign.boundary import described, foreign, reading
from compress.errors import ModelError, clipped, few
from compress.models.loaded import LoadedModel
from compress.models.source import PythonSource
from compress.models.spec import ModelSpec
from compress.models.transformers.pretrained import load_pretrained
from compress.models.transformers.untrained import load_untrained
from compress.models.weights.finite import require_finite

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.core.context import Task


def load_model(spec: ModelSpec, *, task: Task, seed: int) -> LoadedModel:
    """Load a model for a task.

    Parameters
    ----------
    seed : seed of weights that the model's files lack. Torch's global generator stays as it was.

    Raises
    ------
    ModelError : the model can't be found, isn't for this task, or has weights that don't fit its
        structure or are NaN or infinite.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loaded = _load(spec, task=task, seed=seed)
    named = next((name for name in (spec.transformers, spec.weights, spec.python) if name), None)
    require_finite(loaded.module, name=f"the model {str(named or 'of this config')!r}")
    return loaded


def _load(spec: ModelSpec, *, task: Task, seed: int) -> LoadedModel:
    if spec.transformers is not None:
        return load_pretrained(spec, spec.transformers, task=task, seed=seed)
    if spec.config is not None:
        return load_untrained(spec.config, task=task, seed=seed)
    return _load_python(spec, seed=seed)


def _load_python(spec: ModelSpec, *, seed: int) -> LoadedModel:
    if spec.python is None:
        raise ModelError("'model' names none of 'transformers', 'config' and 'python'.")
    source = PythonSource(spec.python, dict(spec.arguments))
    module = source.build()
    if spec.weights is None:
        note = f"{spec.python} has no 'weights': they are as it makes them (seed {seed})."
        return LoadedModel(module, source, (), None, (note,))
    notes = load_weights(module, read_weights(spec.weights), name=str(spec.weights))
    return LoadedModel(module, source, (), None, notes)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a state dict that torch.save wrote.

    Raises
    ------
    ModelError : there is no such file, it is damaged, or it holds something besides tensors.
    """
    import pickle

    import torch
    from safetensors.torch import load_file

    said, problem = clipped(repr(str(path))), file_problem(path)
    if problem is not None:
        raise ModelError(f"there is no file of weights {said}: {problem}.")
    with reading(path, error=ModelError, failed=f"{said} can't be read"):
        if path.suffix == ".safetensors":
            return load_file(path)
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ModelError(
                f"{said} is damaged or holds more than tensors, and only tensors are loaded. Save "
                f"model.state_dict() to a .safetensors file. ({described(error)})"
            ) from error
    if not isinstance(values, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in values.items()
    ):
        raise ModelError(f"{str(path)!r} must hold a state dict, parameter names to tensors.")
    sparse = [name for name, value in values.items() if value.layout != torch.strided]
    if sparse:
        raise ModelError(f"{str(path)!r} must hold dense tensors. Sparse: {few(sparse)}.")
    return values


def load_weights(module: nn.Module, weights: dict[str, Tensor], *, name: str) -> tuple[str, ...]:
    """Copy weights into a module; returns notes. Keys and shapes must match exactly.

    Raises
    ------
    ModelError : keys are missing, unexpected or of another shape; the message names them.
    """
    import torch

    own = module.state_dict()
    shared = [key for key, value in own.items() if isinstance(value, torch.Tensor)]
    problems = []
    for what, keys in (
        ("missing in the file", [key for key in shared if key not in weights]),
        ("not in the model", [key for key in weights if key not in own]),
        (
            "of another shape",
            [
                f"{key} {tuple(weights[key].shape)} for {tuple(own[key].shape)}"
                for key in shared
                if key in weights and weights[key].shape != own[key].shape
            ],
        ),
    ):
        if keys:
            problems.append(f"{what}: {few(keys)}")
    if problems:
        raise ModelError(f"weights {name!r} don't fit the model; {'; '.join(problems)}.")
    halves = {str(value.dtype).removeprefix("torch.") for value in weights.values()} & {
        "float16",
        "bfloat16",
    }
    with foreign(f"loading {name!r} into {type(module).__name__}", error=ModelError):
        module.load_state_dict(weights)
    return tuple(f"weights stored as {half} run in float32." for half in sorted(halves))
