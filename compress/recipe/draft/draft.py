"""Joins what is known of model and data to a recipe, with what was guessed in comments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.core.context import Task
from compress.errors import InputError, RecipeError, expected
from compress.recipe.check import check
from compress.recipe.document import Document, parse
from compress.recipe.draft.data import ALLOWED, DraftData, look_at_data
from compress.recipe.draft.heads import choose_head, classes_of, needed
from compress.recipe.draft.image import choose_image
from compress.recipe.draft.lengths import choose_length
from compress.recipe.draft.model import DraftModel, look_at_model
from compress.recipe.draft.roles import choose_roles
from compress.recipe.draft.stages import WITHOUT_A_GOAL, DraftStages, DraftTraining, plan_stages
from compress.recipe.draft.task import choose_task
from compress.recipe.draft.yaml_text import Keys, yaml_text
from compress.recipe.overrides import apply_overrides
from compress.recipe.schema import Gates
from compress.tasks.contract import Task as OwnTask

_OWN_TEXTS = "compress.data.sources.docstrings:load_docstrings"
"""Texts that every machine has, for tasks without labels."""
_MOST_TIMES = 100.0


def draft_recipe(
    model: str,
    *,
    data: str | None = None,
    task: str | None = None,
    goal: str | None = None,
    overrides: Sequence[str] = (),
    file: str = "recipe.yaml",
) -> str:
    """Return a recipe for a model, in YAML, with what was guessed in comments.

    Parameters
    ----------
    model : a folder with config.json, an ONNX file, "package.module:function", or a hub id.
    data : a file, a folder, "digits", "package.module:function", or a hub id.
    task : name of the task; None: as model and data tell.
    goal : how many times smaller the model is to become, such as "4x"; None: quantization alone.
    overrides : keys that are known, such as "data.columns.label=stars"; see `apply_overrides`.
    file : name of the recipe, for messages.

    Raises
    ------
    InputError : model or data can't be used, or something can't be decided; the message has the
        options.
    RecipeError : the recipe that follows from these isn't right.
    """
    given = _given(overrides)
    drafted = _Draft(model, data, task, _times(goal), given, file)
    return drafted.text(overrides)


def _given(overrides: Sequence[str]) -> Mapping[str, Any]:
    """Return the keys that overrides set, but for those of stages, which aren't chosen yet."""
    document = Document("--set", data={})
    apply_overrides(document, [one for one in overrides if not one.startswith("stages")])
    if document.problems:
        raise RecipeError([str(problem) for problem in document.problems])
    found: Mapping[str, Any] = document.data
    return found


def _times(goal: str | None) -> float | None:
    if goal is None:
        return None
    match = re.fullmatch(r"([0-9]{1,4}(?:\.[0-9]{1,4})?)x?", goal.strip())
    times = float(match[1]) if match else 0.0
    if not 1 < times <= _MOST_TIMES:
        raise InputError(expected("--goal", "how many times smaller, such as 4x", goal))
    return times


def _section(given: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    found: Any = given
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


class _Draft:
    """A recipe in the making.

    Attributes
    ----------
    values : the recipe's keys.
    comments : what was guessed, by the place of the value.
    """

    def __init__(
        self,
        model: str,
        data: str | None,
        task: str | None,
        goal: float | None,
        given: Mapping[str, Any],
        file: str,
    ) -> None:
        self.goal, self.given, self.file = goal, given, file
        self.model = look_at_model(model, _section(given, "model", "arguments"))
        seen = None if data is None else look_at_data(data)
        columns = _section(given, "data", "columns")
        chosen = choose_task(task, self.model, seen, columns)
        self.task: Task = chosen.task
        self.data = seen or self._own_texts()
        self.values: dict[str, Any] = {"version": 1, "name": _name(self.model)}
        self.comments: dict[Keys, str] = {}
        self.roles = choose_roles(self.task, self.data, columns)
        self.classes = classes_of(self.task, self.data, self.roles)
        self.head = choose_head(self.task, self.model, self.data, self.roles, self.classes)
        self._add_model()
        self.values["task"] = self.task.name
        self.comments["task",] = f"Chosen because {chosen.why}." if chosen.why else "As asked for."
        self._add_data(data is None)
        plan = self._plan()
        self._add_gates(plan)
        self._add_stages(plan)

    def text(self, overrides: Sequence[str]) -> str:
        """Return the recipe in YAML, once it is checked."""
        document = Document(self.file, data=self.values)
        apply_overrides(document, overrides)
        if document.problems:
            raise RecipeError([str(problem) for problem in document.problems])
        text = _HEADER.format(file=self.file) + yaml_text(self.values, self.comments)
        check(parse(text, f"{self.file} (not written)"))
        return text

    def _own_texts(self) -> DraftData:
        """Return the data of a draft for which none was named."""
        own = self.task if isinstance(self.task, OwnTask) else None
        unlabelled = own is not None and own.modality == "text" and own.label_column is None
        if self.task.target not in ("none", "next-token") and not unlabelled:
            raise InputError(
                f"{self.task.name} learns from data: say which with --data: {ALLOWED}."
            )
        part = "whole" if self.task.target == "next-token" else "first_sentence"
        keys: dict[str, Any] = {"python": _OWN_TEXTS}
        return DraftData(
            _OWN_TEXTS,
            keys | ({"arguments": {"part": part}} if part != "whole" else {}),
            "unknown",
        )

    def _add_model(self) -> None:
        missing = needed(self.model, self.head.arguments)
        if missing:
            raise InputError(
                f"{self.model.word} needs arguments: {', '.join(missing)}. Say each with "
                f"--set model.arguments.{missing[0]}=VALUE."
            )
        keys = dict(self.model.keys)
        arguments = {**keys.pop("arguments", {}), **self.head.arguments}
        self.values["model"] = {**keys, **({"arguments": arguments} if arguments else {})}
        if self.head.why:
            self.comments["model", "arguments"] = f"{_sentence(self.head.why)}"
        if self.model.is_python:
            self.comments["model",] = (
                "The function's weights are those that it makes; with weights in a file add\n"
                "weights: FILE.safetensors"
            )

    def _add_data(self, ours: bool) -> None:
        keys = dict(self.data.keys)
        if self.roles.keys:
            keys["columns"] = self.roles.keys
        self._add_length(keys)
        self._add_images(keys)
        self.values["data"] = keys
        self.comments["data",] = "\n".join(self._about_data(ours))
        for key, why in self.roles.why.items():
            if key in self.roles.keys:
                self.comments["data", "columns", key] = _sentence(why)

    def _about_data(self, ours: bool) -> list[str]:
        said = []
        if ours:
            said.append("Texts of Python's own documentation, to begin with. Name yours here.")
        elif not self.data.columns and self.data.samples == "unknown":
            said.append(
                "Its columns can't be seen from here: these are the usual names. Others are said "
                "with columns, such as {text: body, label: stars}."
            )
        if self.data.rows is not None:
            said.append(f"train has {self.data.rows:,} rows.")
        if self.classes:
            shown = ", ".join(self.classes[:8]) + (", …" if len(self.classes) > 8 else "")
            said.append(f"{len(self.classes)} classes in the first rows: {shown}.")
        files = self.data.keys.get("files")
        if files is None or {"validation", "test"} - set(files):
            said.append("Splits that are missing are carved from train.")
        return said

    def _add_length(self, keys: dict[str, Any]) -> None:
        if self.task.modality != "text":
            return
        length = choose_length(
            self.model,
            self.roles.inputs,
            generates=self.task.target == "next-token",
            rows=self.data.rows,
        )
        if self.model.is_python:
            size = next((n for n in _VOCABULARIES if n in self.model.parameters), None)
            default = None if size is None else self.model.parameters[size]
            known = isinstance(default, int) and not isinstance(default, bool)
            keys["tokenizer"] = {"train": {"vocab_size": default if known else 4096}}
            self.comments["data", "tokenizer"] = (
                "A tokenizer that is trained on the texts: the model must have as many tokens."
            )
        if length is not None:
            keys["max_length"] = length.tokens
            self.comments["data", "max_length"] = _sentence(length.why)

    def _add_images(self, keys: dict[str, Any]) -> None:
        found = choose_image(self.model, self.data) if self.task.modality == "image" else None
        if found is not None:
            keys["image"] = found.keys
            self.comments["data", "image"] = _sentence(found.why)

    def _plan(self) -> DraftStages:
        labelled = self.values["data"].get("columns", {}).get("label", "label") is not None
        train = self.head.train if labelled and self.task.target != "none" else None
        lesson = DraftTraining(train, labelled, self.data.rows)
        goal = self.goal or WITHOUT_A_GOAL
        return plan_stages(goal, task=self.task, model=self.model, lesson=lesson)

    def _add_gates(self, plan: DraftStages) -> None:
        labelled = self.values["data"].get("columns", {}).get("label", "label") is not None
        known_own = self.task if isinstance(self.task, OwnTask) else None
        known = known_own is None or bool(known_own.metrics)
        metric = self.task.default_metric(labelled=labelled) if known else ""
        drop = Gates(accuracy_drop=0.05 if plan.cuts else 0.02)
        falls = bool(metric) and bool(drop.misfits(metric))
        gates: dict[str, Any] = (
            {"perplexity_ratio": 1.25 if plan.cuts else 1.1}
            if falls
            else {"accuracy_drop": drop.accuracy_drop}
        )
        if self.goal is not None:
            gates["size_ratio"] = self.goal
        self.values["gates"] = gates
        self.comments["gates",] = (
            "What the result must keep to: otherwise the command ends with 1, and keeps everything."
            + (f" The metric is {metric}." if metric else "")
        )
        if self.task.target == "next-token" or (known_own and known_own.scores_tokens):
            self.values["measure"] = {"batch_sizes": [1, 8]}

    def _add_stages(self, plan: DraftStages) -> None:
        self.values["stages"] = [stage for stage, _ in plan.stages]
        about = f"About {plan.smaller:.1f} times smaller, as estimated before the run."
        if self.goal is None:
            about += " A larger goal, such as --goal 8x, adds distillation and pruning."
        elif plan.smaller < self.goal:
            about += " That is less than the goal: a smaller model to begin with would reach it."
        self.comments["stages",] = about
        for index, (_, why) in enumerate(plan.stages):
            self.comments["stages", index] = why


_HEADER = """\
# A first recipe, from what the model's files and the data's first rows say. Comments say what was
# guessed and why; change what isn't right. Paths are relative to the current folder.
#
#   compress check --data {file}   tries a few rows before the work
#   compress {file}                runs it
"""
_VOCABULARIES = ("vocab_size", "vocabulary", "num_tokens", "num_embeddings", "tokens")


def _name(model: DraftModel) -> str:
    """Return a run's name from the name of the model."""
    place = Path(model.word).expanduser().resolve()
    last = place.stem if model.is_onnx else place.name
    if model.is_python:
        last = model.word.rpartition(":")[2]
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._")
    return cleaned[:64] or "model"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
