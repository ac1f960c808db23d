"""Transformers models that are made from a config alone, for a `train` stage to teach."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compress.core.boundary import reading
from compress.errors import ModelError, clipped, unknown
from compress.models.config_file import config_problem
from compress.models.load import LoadedModel
from compress.models.pretrained import CLASSES, auto_class_of, labels_of, require_task
from compress.models.quiet import quiet_transformers
from compress.models.source import TransformersSource
from compress.models.weightless import require_room

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from compress.tasks.task import Task

_LABELS = ("num_labels", "id2label")


def load_untrained(keys: Mapping[str, Any], *, task: Task, seed: int) -> LoadedModel:
    """A model of the task's class with random weights, drawn from torch's global generator.

    Parameters
    ----------
    keys : of its config; `model_type` names the architecture.
    seed : only named in the notes.

    Raises
    ------
    ModelError : an unknown architecture or key, values that don't go together, or an architecture
        that can't do the task.
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
    named = task.target in CLASSES and "id2label" in keys
    note = f"{type(module).__name__}: its weights are random (seed {seed})."
    return LoadedModel(
        module.float().eval(),
        TransformersSource.of(module),
        labels_of(config) if named else (),
        None,
        (note, *warnings),
    )


def untrained_config(keys: Mapping[str, Any]) -> PreTrainedConfig:
    """The config of these keys.

    Raises
    ------
    ModelError : see `load_untrained`.
    """
    import transformers

    wrong = config_problem(keys)
    if wrong is not None:
        raise ModelError(f"'model.config': {wrong}")
    kind = str(keys.get("model_type"))
    if kind not in transformers.CONFIG_MAPPING:
        near = difflib.get_close_matches(kind[:80], transformers.CONFIG_MAPPING, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ModelError(
            f"transformers {transformers.__version__} knows no model_type "
            f"{clipped(repr(kind))}.{hint}"
        )
    config_class = transformers.CONFIG_MAPPING[kind]
    given = {key: value for key, value in keys.items() if key != "model_type"}
    failed = f"a {kind} config can't be made of {clipped(str(given))}"
    with reading("a config", error=ModelError, failed=failed):
        known = {*config_class().to_dict(), *config_class.attribute_map, *_LABELS}
        for key in given:
            if key not in known:
                raise ModelError(unknown(f"key of a {kind} config", key, known))
        config: PreTrainedConfig = config_class(**given)
        labels_of(config)
    return config
