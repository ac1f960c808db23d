"""Finds everything wrong with a recipe at once, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from compress.core.options import Options
from compress.data.spec import DataSpec
from compress.errors import RecipeError, clipped, expected, unknown
from compress.measurement.spec import MeasureSpec
from compress.models.spec import ModelSpec
from compress.recipe.agreement import misfits
from compress.recipe.bounds import MOST_PROBLEMS, MOST_STAGES, beyond
from compress.recipe.document import Document, Keys, Problem
from compress.recipe.order import chain
from compress.recipe.overrides import caused_by_override, is_override
from compress.recipe.schema import Gates, Head, Recipe, Step
from compress.recipe.sentences import Fault, brief, faults, said_by_model
from compress.stages.contract import Stage
from compress.stages.registry import stage_class, stage_names
from compress.tasks.task import TASKS, Task

RESERVED = "original"
"""Name of the row of the model that a run begins with."""
COUNTED_IN_MODEL = ("layers", "ratio", "student.layers", "student.width")
"""Fields of stages that are checked against the sizes of the recipe's model."""

_LONGEST_PROBLEM = 2000
"""Characters of a problem: the allowed values may be a list of many names."""

_Section = TypeVar("_Section", bound=Options)


def check(document: Document) -> Recipe:
    """Return the recipe that a document holds.

    Raises
    ------
    RecipeError : the recipe has problems; it holds all of them, in the order of the lines.
    """
    recipe = _Check(document).recipe()
    if document.problems or recipe is None:
        found = sorted(dict.fromkeys(document.problems), key=lambda problem: problem.place.line)
        shown = [clipped(str(problem), _LONGEST_PROBLEM) for problem in found[:MOST_PROBLEMS]]
        more = len(found) - len(shown)
        raise RecipeError([*shown, *([f"{document.source} … and {more:,} more."] if more else [])])
    return recipe


class _Check:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.data: dict[str, Any] = {}
        self.bad: set[str | int] = set()

    def recipe(self) -> Recipe | None:
        """Return the recipe; None if the document has problems, which it then holds."""
        data = self.document.data
        if not isinstance(data, dict):
            if not self.document.problems:
                self.report((), expected("recipe", "a mapping of keys to values", brief(data)))
            return None
        if self.beyond():
            return None
        self.data = data
        head = {key: value for key, value in data.items() if key != "stages"}
        for fault in faults(Head, head, also=("stages",)):
            self.fault(fault, ())
            self.bad |= set(fault.keys[:1])
        task = self.task()
        self.metric(task)
        self.inputs()
        steps = self.stages(task)
        if self.document.problems:
            return None
        checked = Head.model_validate(head)
        return Recipe(**{name: getattr(checked, name) for name in Head.model_fields}, stages=steps)

    def beyond(self) -> bool:
        """Return whether something is too large to be checked further; report it."""
        found = list(beyond(self.document.data))
        for keys, sentence in found:
            self.document.report(keys, sentence)
        return bool(found)

    def report(self, keys: Keys, sentence: str, *, causes: tuple[Keys, ...] = ()) -> None:
        """Add a problem, at an override if one is among its causes, or else at `keys`."""
        places = [self.document.place(cause) for cause in causes]
        overridden = [place for place in places if is_override(place)]
        place = max(overridden, default=self.document.place(keys))
        self.document.problems.append(Problem(place, sentence))

    def fault(self, fault: Fault, at: Keys, prefix: str = "") -> None:
        """Add a fault of the value at `at`."""
        keys = (*at, *fault.keys)
        place = caused_by_override(self.document, keys) if fault.whole else None
        place = place or self.document.place(keys)
        self.document.problems.append(Problem(place, prefix + fault.sentence))

    def section(self, name: str, model: type[_Section]) -> _Section | None:
        """Return a section of the recipe; None if it is wrong by itself."""
        if name in self.bad or name not in self.data:
            return None
        return model.model_validate(self.data[name])

    def task(self) -> Task | None:
        """Return the task; None if the recipe names no known one."""
        name = self.data.get("task")
        if not isinstance(name, str):
            return None
        found = TASKS.get(name)
        if found is None:
            self.report(("task",), unknown("task", name, TASKS, nearness=0.85))
        return found

    def metric(self, task: Task | None) -> None:
        """Check that the metric is one of the task's, and goes with the data and the gates."""
        measure = self.section("measure", MeasureSpec) if "measure" in self.data else MeasureSpec()
        if task is None or measure is None:
            return
        keys, causes = ("measure", "metric"), (("task",), ("measure", "metric"))
        if measure.metric is not None and measure.metric not in task.metrics:
            sentence = unknown(f"metric for {task.name}", measure.metric, task.metrics)
            self.report(keys, sentence, causes=causes)
            return
        data = self.section("data", DataSpec)
        labelled = data is None or data.columns.label is not None
        if not labelled and measure.metric not in (None, *task.metrics_without_labels):
            allowed = f"one of {', '.join(task.metrics_without_labels)} for data without labels"
            sentence = expected("measure.metric", allowed, measure.metric)
            self.report(keys, sentence, causes=(*causes, ("data", "columns", "label")))
            return
        gates = self.section("gates", Gates)
        metric = measure.metric or task.default_metric(labelled=labelled)
        for key, problem in gates.misfits(metric) if gates else ():
            self.report(("gates", key), problem, causes=(*causes, ("gates", key)))

    def inputs(self) -> None:
        """Check the model and the data by themselves."""
        name = self.data.get("task")
        if model := self.section("model", ModelSpec):
            for key, problem in model.check(name if isinstance(name, str) else ""):
                self.said("model", key, problem)
        if data := self.section("data", DataSpec):
            for key, problem in data.check():
                self.said("data", key, problem)

    def said(self, section: str, key: str, problem: str) -> None:
        keys = (section, *key.split("."))
        self.fault(said_by_model(keys, problem), ())

    def stages(self, task: Task | None) -> tuple[Step, ...]:
        """Return the stages that are right by themselves; check how they go together too."""
        items = self.data.get("stages")
        if not isinstance(items, list) or not items:
            allowed = "a list of one stage or more"
            if "stages" in self.data:
                self.report(("stages",), expected("stages", allowed, brief(items)))
            else:
                self.report((), f"'stages' is missing. It must be {allowed}.")
            return ()
        if len(items) > MOST_STAGES:
            allowed = f"a list of at most {MOST_STAGES} stages"
            self.report(("stages",), f"'stages' must be {allowed}. Got {len(items):,}.")
            return ()
        classes = [self.stage_class(index, item) for index, item in enumerate(items)]
        steps = [
            None if found is None else self.step(index, item, found)
            for index, (item, found) in enumerate(zip(items, classes, strict=True))
        ]
        self.names(items)
        self.order(items, classes)
        self.fit(items, classes, task)
        self.inside(steps, task)
        self.together(steps, task)
        return tuple(step for step in steps if step is not None)

    def stage_class(self, index: int, item: Any) -> type[Stage] | None:
        """Return the class that an item of `stages` names; None if it names no known one."""
        keys: Keys = ("stages", index)
        if not isinstance(item, Mapping):
            allowed = "a mapping with the key 'use'"
            self.report(keys, expected(f"stages[{index}]", allowed, brief(item)))
            return None
        use = item.get("use")
        if not isinstance(use, str):
            allowed = f"one of {', '.join(stage_names())}"
            sentence = (
                expected("use", allowed, use)
                if "use" in item
                else f"'use' is missing. It must be {allowed}."
            )
            self.report((*keys, "use"), f"stages[{index}]: {sentence}")
            return None
        try:
            return stage_class(use)
        except RecipeError as error:
            for problem in error.problems:
                self.report((*keys, "use"), f"stages[{index}]: {problem}")
            return None

    def step(self, index: int, item: Mapping[str, Any], found: type[Stage]) -> Step | None:
        """Return one stage; None if its fields are wrong."""
        fields = {key: value for key, value in item.items() if key not in ("use", "name")}
        wrong = faults(found, fields, also=("use", "name"))
        name = item.get("name", item["use"])
        named = faults(Step, {"use": item["use"], "name": name, "stage": found.model_construct()})
        if name == RESERVED:
            named.append(Fault(("name",), f"the name {RESERVED!r} is taken by the first row."))
        prefix = f"stages[{index}] ({item['use']}): "
        for fault in [*named, *wrong]:
            self.fault(fault, ("stages", index), prefix)
        if named or wrong:
            return None
        return Step(use=item["use"], name=name, stage=found.model_validate(fields))

    def names(self, items: list[Any]) -> None:
        """Check that each name stands once."""
        first: dict[str, int] = {}
        for index, item in enumerate(items):
            name = item.get("name", item.get("use")) if isinstance(item, Mapping) else None
            if not isinstance(name, str):
                continue
            if name in first:
                self.report(
                    ("stages", index),
                    f"stages[{index}] ({item.get('use')}): the name {name!r} is that of "
                    f"stages[{first[name]}] too. Give one of them another 'name'.",
                    causes=tuple(
                        ("stages", one, key)
                        for one in (first[name], index)
                        for key in ("name", "use")
                    ),
                )
            first.setdefault(name, index)

    def inside(self, steps: list[Step | None], task: Task | None) -> None:
        """Check each stage with its own `check`, given model and data."""
        model, data = self.section("model", ModelSpec), self.section("data", DataSpec)
        if task is None or model is None or data is None:
            return
        replaced = False
        for index, step in enumerate(steps):
            if step is None or not self.can_work(step.stage, task):
                continue
            prefix = f"stages[{index}] ({step.use}): "
            problems = step.stage.check(task=task.name, model=model, data=data)
            if replaced:  # it is given another model than the recipe's
                problems = [found for found in problems if found[0] not in COUNTED_IN_MODEL]
            replaced = replaced or step.stage.replaces_model
            for key, problem in problems:
                keys = tuple(key.split("."))
                if problem.startswith(("must ", "needs ")):
                    problem = f"{keys[-1]!r} {problem}"
                self.fault(said_by_model(keys, problem), ("stages", index), prefix)

    def together(self, steps: list[Step | None], task: Task | None) -> None:
        """Check that model, data and task go together, as far as local files tell."""
        model, data = self.section("model", ModelSpec), self.section("data", DataSpec)
        if task is None or model is None:
            return
        taught = any(step is None or step.stage.makes_reference for step in steps)
        for (section, key), problem in misfits(model, data, task, taught=taught):
            self.said(section, key, problem)

    def can_work(self, stage: Stage | type[Stage], task: Task) -> bool:
        """Return whether a stage can work for the task."""
        return stage.tasks is None or task.name in stage.tasks

    def order(self, items: list[Any], classes: list[type[Stage] | None]) -> None:
        """Check that each stage takes the format before it, up to the first unknown stage."""
        known: list[tuple[str, type[Stage]]] = []
        for item, found in zip(items, classes, strict=True):
            if found is None:
                break
            known.append((item["use"], found))
        _, misfit = chain(known)
        if misfit is not None:
            index = misfit.position
            self.report(
                ("stages", index),
                f"stages[{index}] ({known[index][0]}): {misfit.sentence}",
                causes=tuple(("stages", earlier, "use") for earlier in range(index + 1)),
            )

    def fit(self, items: list[Any], classes: list[type[Stage] | None], task: Task | None) -> None:
        """Check that each stage can work for the task."""
        for index, (item, found) in enumerate(zip(items, classes, strict=True)):
            if task is None or found is None or self.can_work(found, task):
                continue
            use = item["use"]
            does = ", ".join(sorted(found.tasks or ()))
            self.report(
                ("stages", index),
                f"stages[{index}] ({use}): {use!r} can't work for the task {task.name!r}. "
                f"It can for: {does}.",
                causes=(("task",), ("stages", index, "use")),
            )
