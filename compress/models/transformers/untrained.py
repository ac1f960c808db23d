"""Makes untrained transformers models from a config, for a `train` stage."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compress.core.foreign.boundary import reading
from compress.errors import ModelError, clipped
from compress.models.loaded import LoadedModel
from compress.models.source import TransformersSource
from compress.models.transformers.configs import (
    CLASSES,
    auto_class_of,
    labels_of,
    part_for,
    require_task,
    untrained_config,
)
from compress.models.transformers.quiet import quiet_transformers
from compress.models.weights.weightless import require_room

if TYPE_CHECKING:
    from compress.core.context import Task


def load_untrained(keys: Mapping[str, Any], *, task: Task, seed: int) -> LoadedModel:
    """A model of the task's class with random weights, drawn from torch's global generator.

    Parameters
    ----------
    keys : keys of its config; `model_type` names the architecture.
    seed : named in the notes only.

    Raises
    ------
    ModelError : the architecture or a key is unknown, values don't go together, or the architecture
        can't do the task.
    """
    import torch
    import transformers

    with quiet_transformers() as warnings:
        config = untrained_config(keys)
        require_task(config, task, name=f"a {config.model_type} model")
        given = clipped(str(dict(keys)))
        failed = f"a {config.model_type} model for {task.name} can't be made with {given}"
        with reading("a config", error=ModelError, failed=failed):
            auto_class = getattr(transformers, auto_class_of(config, task))
            require_room(
                lambda: auto_class.from_config(copy.deepcopy(config), trust_remote_code=False),
                name=f"a {config.model_type} model of this config",
            )
            module = auto_class.from_config(config, dtype=torch.float32, trust_remote_code=False)
            module = part_for(module, task)
    named = task.target in CLASSES and "id2label" in keys
    note = f"{type(module).__name__}: its weights are random (seed {seed})."
    return LoadedModel(
        module.float().eval(),
        TransformersSource.of(module),
        labels_of(config) if named else (),
        None,
        (note, *warnings),
    )
