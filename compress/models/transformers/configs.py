"""Finds, reads and makes configs of transformers' models, and compares them with a task."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compress.core.files.paths import home_expanded
from compress.core.foreign.boundary import reading
from compress.core.foreign.remote_code import NEVER
from compress.errors import ModelError, clipped, expected, unknown
from compress.models.folder.config_file import config_problem
from compress.models.spec import ModelSpec, is_folder
from compress.models.transformers.architectures import (
    has_encoder_class,
    has_several_classes,
    kind_problem,
)
from compress.models.transformers.config_keys import keys_of_models, known_keys
from compress.models.transformers.heads import head_problem
from compress.models.transformers.hub import only_cached

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from compress.core.context import Task

_OF_LOADING = frozenset(
    {
        *("cache_dir", "code_revision", "force_download", "gguf_file", "local_files_only"),
        *("proxies", "return_unused_kwargs", "revision", "subfolder", "token"),
        *("trust_remote_code", "use_auth_token"),
    }
)
"""Arguments of transformers' loading that aren't keys of a config."""
CLASSES = ("class", "class-set", "token-class")
"""Targets for which a config names the classes."""


def config_of(spec: ModelSpec, name: str) -> PreTrainedConfig:
    """The config that a recipe names or holds, with its overrides. Weights aren't read.

    Raises
    ------
    ModelError : the config can't be found or read, or lacks the keys to override.
    """
    if spec.config is not None:
        return untrained_config(spec.config)
    location, options = locate(spec, name)
    return read_config(location, spec.arguments, options)[0]


def untrained_config(keys: Mapping[str, Any]) -> PreTrainedConfig:
    """The config made from these keys.

    Raises
    ------
    ModelError : the architecture or a key is unknown, or values don't go together.
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
        known = known_keys(config_class)
        for key in given:
            if key not in known:
                raise ModelError(unknown(f"key of a {kind} config", key, known))
        config: PreTrainedConfig = config_class(**given)
        labels_of(config)
    _require_padding(config)
    choose_first_class(config)
    return config


def require_task(config: PreTrainedConfig, task: Task, *, name: str) -> None:
    """Compare a config's architecture and the meaning of its head with a task.

    Parameters
    ----------
    name : the model's name, for the message.

    Raises
    ------
    ModelError : the model is for something else.
    """
    values = config.to_dict()
    problem = kind_problem(values, task) or head_problem(values, task)
    if problem is not None:
        raise ModelError(f"{name}: {problem}")


def auto_class_of(config: PreTrainedConfig, task: Task) -> str:
    """The Auto class of `transformers` that makes a config's model for a task.

    If the task needs hidden states, it is the encoder of an encoder-decoder model, for which some
    families have a class of its own. Of the others, `part_for` takes the encoder.

    Raises
    ------
    ModelError : the task names no class.
    """
    if _encodes(config, task) and has_encoder_class(config.model_type):
        return "AutoModelForTextEncoding"
    if not task.auto_class:
        raise ModelError(
            f"{task.name} names no class of transformers ('auto_class') that loads its models. "
            "Give a module with 'python'."
        )
    return task.auto_class


def part_for(model: PreTrainedModel, task: Task) -> PreTrainedModel:
    """The part of a model of `auto_class_of` that a task runs."""
    apart = _encodes(model.config, task) and not has_encoder_class(model.config.model_type)
    return model.get_encoder() if apart else model


def _encodes(config: PreTrainedConfig, task: Task) -> bool:
    return task.target == "none" and bool(config.is_encoder_decoder)


def labels_of(config: PreTrainedConfig) -> tuple[str, ...]:
    """Class names in a config, in the order of the logits."""
    names: dict[int, str] = {int(index): str(label) for index, label in config.id2label.items()}
    return tuple(names[index] for index in sorted(names))


def locate(spec: ModelSpec, name: str) -> tuple[str, dict[str, Any]]:
    """Folder or hub id of a spec's `transformers`, and the options for loading it."""
    if is_folder(name):
        problems = spec.check("")
        if problems:
            raise ModelError(problems[0][1])
        return str(home_expanded(name)), {"local_files_only": True}
    cached = only_cached(name, revision=spec.revision)
    options: dict[str, Any] = {"local_files_only": cached}
    return name, options | ({"revision": spec.revision} if spec.revision else {})


def read_config(
    location: str, arguments: dict[str, Any], options: dict[str, Any]
) -> tuple[PreTrainedConfig, str | None]:
    """The config with the recipe's overrides, and the weights' dtype that the config names."""
    import transformers

    loading = sorted(key for key in arguments if key.startswith("_") or key in _OF_LOADING)
    if loading:
        raise ModelError(f"'arguments' must be keys of the model's config. Got {loading[0]!r}.")
    wrong = config_problem(arguments)
    if wrong is not None:
        raise ModelError(f"'model.arguments': {wrong}")
    failed = f"model {clipped(repr(location))} can't be loaded"
    with reading(location, error=ModelError, failed=failed):
        config, unused = transformers.AutoConfig.from_pretrained(
            location, return_unused_kwargs=True, trust_remote_code=False, **options, **arguments
        )
        labels_of(config)
    _require_own_kernels(config, location)
    _require_padding(config)
    choose_first_class(config)
    _add(config, {key: arguments[key] for key in sorted(set(unused) & set(arguments))})
    stored = None if config.dtype is None else str(config.dtype).removeprefix("torch.")
    return config, stored


def _add(config: PreTrainedConfig, keys: Mapping[str, Any]) -> None:
    """Add keys to a config whose class doesn't declare them, if the family's models read them.

    Raises
    ------
    ModelError : no model of the family reads a key.
    """
    known = keys_of_models(type(config)) if keys else set()
    for key, value in keys.items():
        if key not in known:
            near = difflib.get_close_matches(key[:80], known | set(config.to_dict()), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ModelError(f"a {config.model_type} config has no {key!r}.{hint}")
        setattr(config, key, value)


def choose_first_class(config: PreTrainedConfig) -> None:
    """Let a config that names no class have the first of several, in place.

    Transformers' own choice fails then.
    """
    if config.architectures is None and has_several_classes(config.model_type):
        config.architectures = []


def _require_padding(config: PreTrainedConfig) -> None:
    """Refuse a token for padding that the vocabulary doesn't have, as a family's default may be."""
    size, padding = (getattr(config, key, None) for key in ("vocab_size", "pad_token_id"))
    if isinstance(size, int) and isinstance(padding, int) and padding >= size:
        raise ModelError(
            f"{expected('pad_token_id', f'below vocab_size, which is {size}', padding)} A "
            f"{config.model_type} config has {type(config)().pad_token_id} unless it is given."
        )


def _require_own_kernels(config: PreTrainedConfig, location: str) -> None:
    """Refuse a config whose attention is code on the hub: it would be fetched and run."""
    implementation = getattr(config, "_attn_implementation", None)
    if implementation is not None and "/" in str(implementation):
        raise ModelError(f"model {location!r} can't be loaded: {NEVER} ({implementation}).")
