"""Loads transformers checkpoints through the Auto classes, and judges what their files lack."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.foreign.boundary import reading
from compress.errors import ModelError, clipped, few
from compress.models.folder.sentence_transformers import (
    SentenceModel,
    sentence_folder,
    sentence_model,
)
from compress.models.folder.shards import require_inside
from compress.models.loaded import LoadedModel
from compress.models.source import TransformersSource
from compress.models.spec import ModelSpec, is_folder
from compress.models.transformers.configs import (
    CLASSES,
    auto_class_of,
    labels_of,
    locate,
    part_for,
    read_config,
    require_task,
)
from compress.models.transformers.quiet import quiet_transformers
from compress.models.weights.weightless import require_room

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.core.context import Task


def load_pretrained(spec: ModelSpec, name: str, *, task: Task, seed: int) -> LoadedModel:
    """Load a transformers folder or hub id through the task's Auto class.

    Parameters
    ----------
    name : the spec's `transformers`.
    seed : named in the notes only; torch's generator has been seeded already.

    Raises
    ------
    ModelError : see `compress.models.load.load_model`.
    """
    import torch
    import transformers

    location, options = locate(spec, name)
    if is_folder(name):
        require_inside(Path(location))
    with quiet_transformers() as warnings:
        config, stored = read_config(location, spec.arguments, options)
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
                ignore_mismatched_sizes=True,  # `judge_keys` names the keys
                weights_only=True,
                trust_remote_code=False,
                **options,
            )
    new, notes = judge_keys(module, info, name=name, overridden=bool(spec.arguments), seed=seed)
    if stored is not None and stored not in ("float32", "None"):
        notes = (f"weights stored as {stored} run in float32.", *notes)
    head = tuple(key for key in new if not _in_body(module, key))
    module = part_for(module.float().eval(), task)
    return LoadedModel(
        module,
        TransformersSource.of(module),
        labels_of(config) if task.target in CLASSES else (),
        location,
        (*notes, *warnings),
        untrained_head=head,
        sentence=_sentence(name, options) if task.target == "none" else None,
    )


def judge_keys(
    module: PreTrainedModel, info: dict[str, Any], *, name: str, overridden: bool, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Judge the missing, unexpected and mismatched keys that transformers reported on loading.

    A head or pooler that the files lack is newly initialised and noted, since training may follow.
    Weights of another head are left out and noted. Anything else means that files and config don't
    belong together.

    Parameters
    ----------
    overridden : whether the recipe changed the config, so that a head may have another size.

    Returns
    -------
    Names of the newly initialised parameters, and notes.

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
        return True  # only for one pre-training task: checkpoints with other heads lack it
    return _has_body(module) and key.split(".")[0] != str(module.base_model_prefix)


def _in_body(module: PreTrainedModel, key: str) -> bool:
    first, *rest = key.split(".")
    if "pooler" in rest or first == "pooler":
        return False
    if _has_body(module):
        return first == str(module.base_model_prefix)
    return first in dict(module.named_children())


def _sentence(name: str, options: Mapping[str, Any]) -> SentenceModel | None:
    """The steps of sentence-transformers in a local folder or on the hub; None if none."""
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
