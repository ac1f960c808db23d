"""The recipe's `model`: the model that a run begins with. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from compress.core.files.paths import (
    exists,
    file_problem,
    folder_problem,
    home_expanded,
    only_a_path,
)
from compress.core.foreign.entries import entry_problem
from compress.core.options import Options
from compress.errors import ModelError, clipped, expected
from compress.models.folder.config_file import config_problem, read_config
from compress.models.onnx_file.problems import file_problems

KINDS = ("transformers", "config", "python", "onnx")
"""Keys that say where a model comes from."""
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


class ModelSpec(Options):
    """The model's origin: exactly one of `transformers`, `config`, `python` and `onnx`.

    Code that comes with a hub model is never run.
    """

    transformers: str | None = None
    """A folder with config.json and weights, or a Hugging Face hub id."""
    config: dict[str, Any] | None = None
    """An untrained transformers model: keys of its config. `model_type` (such as llama) names the
    architecture; keys that aren't named have the config's defaults."""
    python: str | None = None
    """A function "package.module:function" that returns a torch module. It may lie in the current
    directory."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of `python`'s function. With `transformers`: keys of its config to
    override, such as num_labels for a new head."""
    weights: Path | None = None
    """Weights for `python`: a .safetensors file, or a state dict written by torch.save (loaded with
    weights_only=True). Without it the weights are those that the function makes."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    onnx: Path | None = None
    """An ONNX file, from whichever exporter; weights beside it are found as the file names them.
    Stages that change or train a PyTorch module can't follow."""
    preprocessing: str | None = None
    """Folder or hub id of the tokenizer or image processor of `onnx`; null: the file's own folder
    if it has one (or the folder above `onnx/`), else what `data` says."""
    inputs: dict[str, str] | None = None
    """For `onnx`: what an input of the file is given, by the input's name, such as
    {input.1: input_ids}. Needed only for names that say nothing."""
    outputs: dict[str, str] | None = None
    """For `onnx`: what an output of the file is, by its name, such as {dense_2: logits}; null: the
    ones named as the task's, or the only one of its form."""

    @model_validator(mode="after")
    def _one_kind(self) -> ModelSpec:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of {', '.join(KINDS)} must be given. "
                f"Got {' and '.join(given) or 'none'}."
            )
        if self.python is None and self.weights is not None:
            raise ValueError("'weights' goes with 'python'; a transformers folder holds its own.")
        if self.transformers is None and self.revision is not None:
            raise ValueError("'revision' goes with a hub id in 'transformers'.")
        if self.config is not None and self.arguments:
            raise ValueError("'arguments' doesn't go with 'config'; put its keys there.")
        if self.onnx is not None and self.arguments:
            raise ValueError("'arguments' doesn't go with 'onnx', which is a finished model.")
        for name in ("preprocessing", "inputs", "outputs"):
            if self.onnx is None and getattr(self, name):
                raise ValueError(f"{name!r} goes with 'onnx'.")
        return self

    def check(self, task_name: str) -> list[tuple[str, str]]:
        """Problems that can be found without torch, transformers and a network.

        Parameters
        ----------
        task_name : the recipe's task.

        Returns
        -------
        (key inside `model`, problem) pairs, in the order of the fields.
        """
        if self.transformers is not None:
            problem, wrong = _folder_problem(self.transformers), config_problem(self.arguments)
            return [
                *([("transformers", problem)] if problem else []),
                *([("arguments", f"'arguments': {wrong}")] if wrong else []),
            ]
        if self.config is not None:
            kind = self.config.get("model_type")
            named = isinstance(kind, str) and bool(kind)
            allowed = "the name of a transformers architecture, such as llama"
            if not named:
                return [("config", expected("model_type", allowed, kind))]
            wrong = config_problem(self.config)
            return [] if wrong is None else [("config", f"'config': {wrong}")]
        if self.onnx is not None:
            return self._onnx_problems(self.onnx, task_name)
        problems = []
        entry = entry_problem(self.python or "")
        if entry is not None:
            problems.append(("python", entry))
        if self.weights is not None and (wrong := file_problem(self.weights)) is not None:
            there = f"there is no file {clipped(repr(str(self.weights)))}: {wrong}."
            problems.append(("weights", there))
        if task_name == "text-generation":
            problems.append(
                ("python", "task 'text-generation' needs a 'transformers' or 'config' model.")
            )
        return problems

    def _onnx_problems(self, path: Path, task_name: str) -> list[tuple[str, str]]:
        problems = []
        named = self.preprocessing
        if named is not None and only_a_path(named) and folder_problem(named) is not None:
            there = f"there is no folder {clipped(repr(named))}: {folder_problem(named)}."
            problems.append(("preprocessing", there))
        return [*file_problems(path, task_name, self.inputs or {}, self.outputs or {}), *problems]


def is_folder(name: str) -> bool:
    """Return whether a `transformers` entry means a folder rather than a hub id."""
    return exists(name) or only_a_path(name)


def _folder_problem(name: str) -> str | None:
    if not is_folder(name):
        return None  # a hub id: only loading shows if it exists
    folder, said = home_expanded(name), clipped(repr(name))
    problem = folder_problem(folder)
    if problem is not None:
        return f"there is no folder {said}: {problem}."
    config = folder / "config.json"
    if file_problem(config) is not None:
        return f"folder {said} has no config.json that can be read: {file_problem(config)}."
    try:
        read_config(config)
    except ModelError as error:
        return str(error)
    if not any((folder / file).is_file() for file in WEIGHT_FILES):
        return f"folder {said} has no weights (none of {', '.join(WEIGHT_FILES)})."
    return None
