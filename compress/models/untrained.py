"""Transformers models that are made from a config alone, for a `train` stage to teach."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compress.errors import ModelError, unknown
from compress.models.load import LoadedModel
from compress.models.pretrained import CLASSES, auto_class_of, labels_of, require_task
from compress.models.quiet import quiet_transformers
from compress.models.source import TransformersSource

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
        try:
            auto_class = getattr(transformers, auto_class_of(config, task))
            module = auto_class.from_config(config, dtype=torch.float32, trust_remote_code=False)
        except (ValueError, TypeError, RuntimeError, KeyError, ImportError) as error:
            raise ModelError(
                f"a {config.model_type} model for {task.name} can't be made with "
                f"{dict(keys)}: {' '.join(str(error).split())}"
            ) from error
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
    from huggingface_hub.errors import StrictDataclassError

    kind = str(keys.get("model_type"))
    if kind not in transformers.CONFIG_MAPPING:
        near = difflib.get_close_matches(kind, transformers.CONFIG_MAPPING, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ModelError(
            f"transformers {transformers.__version__} knows no model_type {kind!r}.{hint}"
        )
    config_class = transformers.CONFIG_MAPPING[kind]
    given = {key: value for key, value in keys.items() if key != "model_type"}
    try:
        known = {*config_class().to_dict(), *config_class.attribute_map, *_LABELS}
        for key in given:
            if key not in known:
                raise ModelError(unknown(f"key of a {kind} config", key, known))
        config: PreTrainedConfig = config_class(**given)
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise ModelError(
            f"a {kind} config can't be made of {given}: {' '.join(str(error).split())}"
        ) from error
    return config
