"""Loads transformers checkpoints through the Auto classes, and judges what their files lack."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.boundary import reading
from compress.core.paths import home_expanded
from compress.core.remote_code import NEVER
from compress.errors import ModelError, clipped
from compress.models.architectures import kind_problem
from compress.models.config_file import config_problem
from compress.models.heads import head_problem
from compress.models.hub import only_cached
from compress.models.load import LoadedModel, few
from compress.models.quiet import quiet_transformers
from compress.models.sentence_folder import SentenceModel, sentence_folder, sentence_model
from compress.models.shards import require_inside
from compress.models.source import TransformersSource
from compress.models.spec import ModelSpec, is_folder
from compress.models.weightless import require_room

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from compress.tasks.task import Task

_OF_LOADING = frozenset(
    {
        *("cache_dir", "code_revision", "force_download", "gguf_file", "local_files_only"),
        *("proxies", "return_unused_kwargs", "revision", "subfolder", "token"),
        *("trust_remote_code", "use_auth_token"),
    }
)
"""What transformers' loading takes besides a config's keys."""
CLASSES = ("class", "class-set", "token-class")
"""Targets of which a config names the classes."""


def load_pretrained(spec: ModelSpec, name: str, *, task: Task, seed: int) -> LoadedModel:
    """Load a transformers folder or hub id through the task's Auto class.

    Parameters
    ----------
    name : the spec's `transformers`.
    seed : only named in the notes; torch's generator has been seeded.

    Raises
    ------
    ModelError : see `compress.models.load.load_model`.
    """
    import torch
    import transformers

    location, options = _locate(spec, name)
    if is_folder(name):
        require_inside(Path(location))
    with quiet_transformers() as warnings:
        config, stored = _config(location, spec.arguments, options)
        require_task(config, task, name=f"model {name!r}")
        auto_class = getattr(transformers, auto_class_of(config, task))
        failed = f"model {clipped(repr(name))} can't be loaded for {task.name}"
        with reading(location, error=ModelError, failed=failed):
            require_room(
                lambda: auto_class.from_config(copy.deepcopy(config), trust_remote_code=False),
                name=f"model {clipped(repr(name))}",
            )
            module, info = auto_class.from_pretrained(
                location,
                config=config,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # judged below, with the names of the keys
                weights_only=True,
                trust_remote_code=False,
                **options,
            )
    new, notes = judge_keys(module, info, name=name, overridden=bool(spec.arguments), seed=seed)
    if stored is not None and stored not in ("float32", "None"):
        notes = (f"weights stored as {stored} run in float32.", *notes)
    module = module.float().eval()
    return LoadedModel(
        module,
        TransformersSource.of(module),
        labels_of(config) if task.target in CLASSES else (),
        location,
        (*notes, *warnings),
        untrained_head=tuple(key for key in new if not _in_body(module, key)),
        sentence=_sentence(name, options) if task.target == "none" else None,
    )


def config_of(spec: ModelSpec, name: str) -> PreTrainedConfig:
    """The config that a recipe names or holds, with its overrides; weights aren't read.

    Raises
    ------
    ModelError : it can't be found or read, or has no such keys.
    """
    if spec.config is not None:
        from compress.models.untrained import untrained_config

        return untrained_config(spec.config)
    location, options = _locate(spec, name)
    return _config(location, spec.arguments, options)[0]


def require_task(config: PreTrainedConfig, task: Task, *, name: str) -> None:
    """Hold a config's architecture and the meaning of its head against a task.

    Parameters
    ----------
    name : the model's, for the message.

    Raises
    ------
    ModelError : it is for something else.
    """
    values = config.to_dict()
    problem = kind_problem(values, task) or head_problem(values, task)
    if problem is not None:
        raise ModelError(f"{name}: {problem}")


def auto_class_of(config: PreTrainedConfig, task: Task) -> str:
    """The Auto class of `transformers` that makes a config's model for a task.

    What answers with its hidden states is the encoder alone, where there is a decoder too.
    """
    if task.target == "none" and config.is_encoder_decoder:
        return "AutoModelForTextEncoding"
    return task.auto_class


def labels_of(config: PreTrainedConfig) -> tuple[str, ...]:
    """Class names of a config, in the order of the logits."""
    names: dict[int, str] = {int(index): str(label) for index, label in config.id2label.items()}
    return tuple(names[index] for index in sorted(names))


def judge_keys(
    module: PreTrainedModel, info: dict[str, Any], *, name: str, overridden: bool, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What transformers reported on loading; what makes the model wrong is raised.

    A head or pooler that the files lack is newly initialised, and noted: training may follow.
    Weights of another head are left out, and noted. Anything else means that files and config
    don't belong together.

    Parameters
    ----------
    overridden : whether the recipe changed the config, so that a head of another size is meant.

    Returns
    -------
    Names of the parameters that were newly initialised, and notes.

    Raises
    ------
    ModelError : body weights are missing, unknown to the model, or of another shape.
    """
    missing = sorted(info["missing_keys"])
    unexpected = sorted(info["unexpected_keys"])
    mismatched = sorted(info["mismatched_keys"])
    new = [key for key in missing if _replaceable(module, key)]
    if overridden:
        new += [key for key, *_ in mismatched if _replaceable(module, key)]
    problems = []
    lacking = [key for key in missing if key not in new]
    stray = [key for key in unexpected if _in_body(module, key)]
    misfits = [
        f"{key} {tuple(found)} for {tuple(wanted)}"
        for key, found, wanted in mismatched
        if key not in new
    ]
    for what, keys in (
        ("missing", lacking),
        ("not in the model that config.json describes", stray),
        ("of another shape than config.json says", misfits),
    ):
        if keys:
            problems.append(f"{what}: {few(keys)}")
    if problems:
        raise ModelError(f"weights of {name!r} don't fit its config.json; {'; '.join(problems)}.")
    notes = []
    if new:
        notes.append(f"newly initialised (seed {seed}), to be trained: {few(new)}.")
    left_out = [key for key in unexpected if key not in stray]
    if left_out:
        notes.append(f"weights that this task doesn't use were left out: {few(left_out)}.")
    return tuple(new), tuple(notes)


def _has_body(module: PreTrainedModel) -> bool:
    return hasattr(module, module.base_model_prefix)


def _replaceable(module: PreTrainedModel, key: str) -> bool:
    if "pooler" in key.split("."):
        return True  # made for one pre-training task; checkpoints of other heads lack it
    return _has_body(module) and key.split(".")[0] != str(module.base_model_prefix)


def _in_body(module: PreTrainedModel, key: str) -> bool:
    first, *rest = key.split(".")
    if "pooler" in rest or first == "pooler":
        return False
    if _has_body(module):
        return first == str(module.base_model_prefix)
    return first in dict(module.named_children())


def _sentence(name: str, options: Mapping[str, Any]) -> SentenceModel | None:
    """What the model's folder, or its files on the hub, say of sentence-transformers."""
    from transformers.utils.hub import cached_file

    if is_folder(name):
        return sentence_folder(name)

    def read(file: str) -> Any:
        where = {key: options[key] for key in ("local_files_only", "revision") if key in options}
        found = cached_file(
            name,
            file,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            **where,
        )
        if found is None:
            return None
        with reading(f"{file} of {name!r}", error=ModelError):
            return json.loads(Path(found).read_text(encoding="utf-8"))

    return sentence_model(read, name=name)


def _locate(spec: ModelSpec, name: str) -> tuple[str, dict[str, Any]]:
    if is_folder(name):
        problems = spec.check("")
        if problems:
            raise ModelError(problems[0][1])
        return str(home_expanded(name)), {"local_files_only": True}
    cached = only_cached(name, revision=spec.revision)
    options: dict[str, Any] = {"local_files_only": cached}
    return name, options | ({"revision": spec.revision} if spec.revision else {})


def _config(
    location: str, arguments: dict[str, Any], options: dict[str, Any]
) -> tuple[PreTrainedConfig, str | None]:
    """The config with the recipe's overrides, and the dtype that it says the weights have."""
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
    strange = sorted(set(unused) & set(arguments))
    if strange:
        raise ModelError(f"a {config.model_type} config has no {', '.join(map(repr, strange))}.")
    stored = None if config.dtype is None else str(config.dtype).removeprefix("torch.")
    return config, stored


def _require_own_kernels(config: PreTrainedConfig, location: str) -> None:
    """Refuse a config whose attention is a repository of the hub: it would be fetched and run."""
    implementation = getattr(config, "_attn_implementation", None)
    if implementation is not None and "/" in str(implementation):
        raise ModelError(f"model {location!r} can't be loaded: {NEVER} ({implementation}).")
