"""Finds everything wrong with a recipe at once, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from compress.core.context import Task
from compress.core.options import Options
from compress.data.spec import DataSpec
from compress.errors import InputError, RecipeError, clipped, expected
from compress.measurement.spec import MeasureSpec
from compress.models.spec import ModelSpec
from compress.recipe.bounds import MOST_PROBLEMS, MOST_STAGES, beyond
from compress.recipe.consistency import (
    Findings,
    Listed,
    Parts,
    check_generation,
    check_inputs,
    check_metric,
    check_runtimes,
    check_stages,
)
from compress.recipe.document import Document, Keys
from compress.recipe.schema import Gates, Head, Recipe, Step
from compress.recipe.sentences import Fault, brief, faults
from compress.stages.contract import Stage
from compress.stages.registry import stage_class, stage_name, stage_names
from compress.tasks.registry import outline, task_names
from compress.tasks.spec import TaskSpec
from compress.tasks.task import unknown_task

RESERVED = "original"
"""Name of the row of the model that a run begins with."""

_LONGEST_PROBLEM = 2000
"""Characters of a problem: the allowed values may be a list of many names."""

_Section = TypeVar("_Section", bound=Options)


def check(document: Document, stages: Sequence[tuple[str, Stage]] | None = None) -> Recipe:
    """Return the recipe that a document holds.

    Parameters
    ----------
    stages : made in Python, with their names; they stand in place of the document's.

    Raises
    ------
    RecipeError : the recipe has problems; it holds all of them, in the order of the lines.
    """
    recipe = _Check(document, stages).recipe()
    if document.problems or recipe is None:
        raise _error(document)
    return recipe


def check_head(document: Document) -> Head:
    """Return a recipe's keys without its stages, as a document holds them.

    Raises
    ------
    RecipeError : see `check`.
    """
    head = _Check(document, ()).head()
    if document.problems or head is None:
        raise _error(document)
    return head


def _error(document: Document) -> RecipeError:
    found = sorted(dict.fromkeys(document.problems), key=lambda problem: problem.place.line)
    shown = [clipped(str(problem), _LONGEST_PROBLEM) for problem in found[:MOST_PROBLEMS]]
    more = len(found) - len(shown)
    return RecipeError([*shown, *([f"{document.source} … and {more:,} more."] if more else [])])


class _Check:
    def __init__(self, document: Document, made: Sequence[tuple[str, Stage]] | None) -> None:
        self.document = document
        self.made = made
        self.findings = Findings(document)
        self.data: dict[str, Any] = {}
        self.bad: set[str | int] = set()

    def recipe(self) -> Recipe | None:
        """Return the recipe; None if the document has problems, which it then holds."""
        parts = self.parts()
        if parts is None:
            return None
        listed = self.read() if self.made is None else self.take(self.made)
        if listed:
            check_stages(listed, parts, self.findings)
        if self.document.problems:
            return None
        head = Head.model_validate(self.keys())
        steps = tuple(one.step for one in listed if one.step is not None)
        return Recipe(**{name: getattr(head, name) for name in Head.model_fields}, stages=steps)

    def head(self) -> Head | None:
        """Return the keys without the stages; None as for a recipe."""
        parts = self.parts()
        if parts is not None:
            check_inputs(parts, self.findings, taught=True)
        return None if self.document.problems else Head.model_validate(self.keys())

    def keys(self) -> dict[str, Any]:
        """Return the keys that were given, without the stages."""
        return {key: value for key, value in self.data.items() if key != "stages"}

    def parts(self) -> Parts | None:
        """Return the parts that are right by themselves; None if nothing can be checked."""
        data = self.document.data
        if not isinstance(data, dict):
            if not self.document.problems:
                allowed = expected("recipe", "a mapping of keys to values", brief(data))
                self.findings.report((), allowed)
            return None
        if self.beyond():
            return None
        self.data = data
        for fault in faults(Head, self.keys(), also=("stages",)):
            self.findings.fault(fault, ())
            self.bad |= set(fault.keys[:1])
        parts = Parts(
            self.task(),
            self.section("model", ModelSpec),
            self.section("data", DataSpec),
            self.section("measure", MeasureSpec) if "measure" in data else MeasureSpec(),
            self.section("gates", Gates),
        )
        check_metric(parts, self.findings)
        check_runtimes(parts, self.findings)
        check_generation(parts, self.findings)
        self.inputs(parts)
        return parts

    def beyond(self) -> bool:
        """Return whether something is too large to be checked further; report it."""
        found = list(beyond(self.document.data))
        for keys, sentence in found:
            self.document.report(keys, sentence)
        return bool(found)

    def section(self, name: str, model: type[_Section]) -> _Section | None:
        """Return a section of the recipe; None if it is wrong by itself."""
        if name in self.bad or name not in self.data:
            return None
        return model.model_validate(self.data[name])

    def task(self) -> Task | None:
        """Return the task; None if the recipe names no known one."""
        name = self.task_name()
        if name is None:
            return None
        if ":" not in name and name not in task_names():
            keys: Keys = ("task",) if isinstance(self.data["task"], str) else ("task", "name")
            self.findings.report(keys, unknown_task(name, task_names()))
            return None
        given = self.data["task"]
        spec = TaskSpec(name=given) if isinstance(given, str) else TaskSpec.model_validate(given)
        for key, problem in spec.check():
            self.findings.said("task", key, problem)
            return None
        try:
            return outline(name, spec.arguments)
        except InputError as error:
            self.findings.report(("task",), str(error))
            return None

    def task_name(self) -> str | None:
        """Return the name of the recipe's task; None if what is given is wrong by itself."""
        given = self.data.get("task")
        if isinstance(given, str):
            return given
        if "task" in self.bad or not isinstance(given, Mapping):
            return None
        return TaskSpec.model_validate(given).known_as

    def inputs(self, parts: Parts) -> None:
        """Check the model and the data by themselves."""
        if parts.model is not None:
            for key, problem in parts.model.check(self.task_name() or ""):
                self.findings.said("model", key, problem)
        if parts.data is not None:
            for key, problem in parts.data.check():
                self.findings.said("data", key, problem)

    def read(self) -> list[Listed]:
        """Return the document's stages; none if they are no list of a few, which is reported."""
        items = self.data.get("stages")
        if not isinstance(items, list) or not items:
            allowed = "a list of one stage or more"
            if "stages" in self.data:
                self.findings.report(("stages",), expected("stages", allowed, brief(items)))
            else:
                self.findings.report((), f"'stages' is missing. It must be {allowed}.")
            return []
        if len(items) > MOST_STAGES:
            allowed = f"a list of at most {MOST_STAGES} stages"
            sentence = f"'stages' must be {allowed}. Got {len(items):,}."
            self.findings.report(("stages",), sentence)
            return []
        kinds = [self.kind(index, item) for index, item in enumerate(items)]
        return [
            self.listed(index, item, kind)
            for index, (item, kind) in enumerate(zip(items, kinds, strict=True))
        ]

    def listed(self, index: int, item: Any, kind: type[Stage] | None) -> Listed:
        """Return an item of the document's stages."""
        if not isinstance(item, Mapping):
            return Listed()
        use, name = item.get("use"), item.get("name", item.get("use"))
        return Listed(
            use=use if isinstance(use, str) else None,
            name=name if isinstance(name, str) else None,
            kind=kind,
            step=None if kind is None else self.step(index, item, kind),
        )

    def kind(self, index: int, item: Any) -> type[Stage] | None:
        """Return the class that an item of `stages` names; None if it names no known one."""
        keys: Keys = ("stages", index)
        if not isinstance(item, Mapping):
            allowed = "a mapping with the key 'use'"
            self.findings.report(keys, expected(f"stages[{index}]", allowed, brief(item)))
            return None
        use = item.get("use")
        if not isinstance(use, str):
            allowed = f"one of {', '.join(stage_names())}"
            sentence = (
                expected("use", allowed, use)
                if "use" in item
                else f"'use' is missing. It must be {allowed}."
            )
            self.findings.report((*keys, "use"), f"stages[{index}]: {sentence}")
            return None
        return self.registered(index, use)

    def registered(self, index: int, use: str, *, own: str | None = None) -> type[Stage] | None:
        """Return the class that is registered with a name; None if there is none.

        Parameters
        ----------
        own : the name of the class of a stage that was made in Python.
        """
        remedy = (
            ""
            if own is None
            else f" {own} needs an entry point in the group 'compress.stages' of an installed "
            "package, so that a run can be resumed."
        )
        try:
            return stage_class(use)
        except RecipeError as error:
            for problem in error.problems:
                said = f"stages[{index}]: {problem}{remedy}"
                self.findings.report(("stages", index, "use"), said)
            return None

    def step(self, index: int, item: Mapping[str, Any], kind: type[Stage]) -> Step | None:
        """Return one stage; None if its fields are wrong."""
        fields = {key: value for key, value in item.items() if key not in ("use", "name")}
        name = item.get("name", item["use"])
        wrong = [
            *_of_name(name, item["use"]),
            *faults(kind, fields, also=("use", "name")),
        ]
        self.wrong(index, item["use"], wrong)
        if wrong:
            return None
        return Step(use=item["use"], name=name, stage=kind.model_validate(fields))

    def take(self, made: Sequence[tuple[str, Stage]]) -> list[Listed]:
        """Return stages that were made in Python; pydantic checked their fields then."""
        if not made:
            self.findings.report(("stages",), expected("stages", "a list of one stage or more", []))
        return [self.taken(index, name, stage) for index, (name, stage) in enumerate(made)]

    def taken(self, index: int, name: str, stage: Stage) -> Listed:
        """Return one stage that was made in Python."""
        use = stage_name(stage)
        kind = self.registered(index, use, own=type(stage).__qualname__)
        if kind is not None and kind is not type(stage):
            said = f"{type(stage).__qualname__} isn't registered; {use!r} is {kind.__qualname__}."
            self.findings.report(("stages", index, "use"), f"stages[{index}]: {said}")
            kind = None
        wrong = [] if kind is None else _of_name(name, use)
        self.wrong(index, use, wrong)
        right = kind is not None and not wrong
        return Listed(use, name, kind, Step(use=use, name=name, stage=stage) if right else None)

    def wrong(self, index: int, use: str, found: Sequence[Fault]) -> None:
        """Report what is wrong with one stage."""
        for fault in found:
            self.findings.fault(fault, ("stages", index), f"stages[{index}] ({use}): ")


def _of_name(name: Any, use: str) -> list[Fault]:
    """Return the faults of a stage's name."""
    found = faults(Step, {"use": use, "name": name, "stage": Stage.model_construct()})
    if name == RESERVED:
        found.append(Fault(("name",), f"the name {RESERVED!r} is taken by the first row."))
    return found
