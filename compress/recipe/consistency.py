"""How the parts of a recipe go together, once each of them is right by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress.core.context import Task
from compress.core.foreign.entries import entry_problem
from compress.data.spec import DataSpec
from compress.errors import expected, unknown
from compress.measurement.spec import MeasureSpec, OwnMetric
from compress.models.spec import ModelSpec
from compress.recipe.agreement import misfits
from compress.recipe.document import Document, Keys, Problem
from compress.recipe.gates.check import NamedStage, limits_misfit
from compress.recipe.order import chain, first_format, misfits_in
from compress.recipe.overrides import caused_by_override, is_override
from compress.recipe.schema import Gates, Step
from compress.recipe.sentences import Fault, said_by_model
from compress.stages.contract import Stage
from compress.tasks.contract import Task as OwnTask

COUNTED_IN_MODEL = ("layers", "ratio", "student.layers", "student.width")
"""Fields of stages that are checked against the sizes of the recipe's model."""


class Findings:
    """Collects problems, each with its place in the document."""

    def __init__(self, document: Document) -> None:
        self.document = document

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

    def said(self, section: str, key: str, problem: str) -> None:
        """Add a problem that a section found in itself."""
        self.fault(said_by_model((section, *key.split(".")), problem), ())


@dataclass(frozen=True)
class Listed:
    """An item of `stages`.

    Attributes
    ----------
    use, name : as they were given; None if they are missing or no text.
    kind : the stage's class; None if there is no such class.
    step : the stage; None if something in it is wrong.
    """

    use: str | None = None
    name: str | None = None
    kind: type[Stage] | None = None
    step: Step | None = None


@dataclass(frozen=True)
class Parts:
    """A recipe's parts without its stages; None stands for one that is wrong or missing."""

    task: Task | None
    model: ModelSpec | None
    data: DataSpec | None
    measure: MeasureSpec | None
    gates: Gates | None


def check_metric(parts: Parts, findings: Findings) -> None:
    """Check that the metric is one of the task's, and goes with the data and the gates."""
    task, measure, data = parts.task, parts.measure, parts.data
    if task is None or measure is None or not task.metrics:
        return  # the metrics of a task in a `python:` entry are known when it is imported
    keys, causes = ("measure", "metric"), (("task",), ("measure", "metric"))
    if isinstance(measure.metric, OwnMetric):
        problem = entry_problem(measure.metric.python)
        if problem is not None:
            findings.report((*keys, "python"), problem)
        return
    if measure.metric is not None and measure.metric not in task.metrics:
        sentence = unknown(f"metric for {task.name}", measure.metric, task.metrics)
        findings.report(keys, sentence, causes=causes)
        return
    own_labels = isinstance(task, OwnTask) and task.label_column is None
    labelled = data is None or own_labels or _names_labels(data, task)
    if not labelled and measure.metric not in (None, *task.metrics_without_labels):
        allowed = f"one of {', '.join(task.metrics_without_labels)} for data without labels"
        sentence = expected("measure.metric", allowed, measure.metric)
        findings.report(keys, sentence, causes=(*causes, ("data", "columns", "label")))
        return
    metric = measure.metric or task.default_metric(labelled=labelled)
    for key, problem in parts.gates.misfits(metric) if parts.gates else ():
        findings.report(("gates", key), problem, causes=(*causes, ("gates", key)))


def _names_labels(data: DataSpec, task: Task) -> bool:
    """Whether the data's columns name what the task is judged by; of embeddings these are pairs."""
    if task.target == "none":
        return data.has_pairs
    return data.columns.label is not None


def check_runtimes(parts: Parts, findings: Findings) -> None:
    """Check that the runtimes that measure are installed."""
    wrong = None if parts.measure is None else parts.measure.problem()
    if wrong is not None:
        findings.said("measure", "runtimes", wrong)


def check_generation(parts: Parts, findings: Findings) -> None:
    """Check that generation is timed for its task only, with no more tokens than texts have."""
    task, data = parts.task, parts.data
    spec = None if parts.measure is None else parts.measure.generation
    if task is None or spec is None:
        return
    wrong = spec.problem(task.name, most=None if data is None else data.max_length)
    if wrong is not None:
        findings.said("measure", "generation", wrong)


def check_stages(stages: Sequence[Listed], parts: Parts, findings: Findings) -> None:
    """Check that the stages go together, and with the task, the model and the data."""
    _names(stages, findings)
    _order(stages, parts.model, findings)
    _limits(stages, parts, findings)
    if parts.task is None:
        return
    _tasks(stages, parts.task, findings)
    if parts.model is not None and parts.data is not None:
        _inside(stages, parts.task, parts.model, parts.data, findings)
    taught = any(one.step is None or one.step.stage.makes_reference for one in stages)
    check_inputs(parts, findings, taught=taught)


def check_inputs(parts: Parts, findings: Findings, *, taught: bool) -> None:
    """Check that model, data and task go together, as far as local files tell.

    Parameters
    ----------
    taught : whether a stage trains the model on labels first.
    """
    if parts.task is None or parts.model is None:
        return
    for (section, key), problem in misfits(parts.model, parts.data, parts.task, taught=taught):
        findings.said(section, key, problem)


def _names(stages: Sequence[Listed], findings: Findings) -> None:
    """Check that each name stands once."""
    first: dict[str, int] = {}
    for index, one in enumerate(stages):
        if one.name is None:
            continue
        if one.name in first:
            findings.report(
                ("stages", index),
                f"stages[{index}] ({one.use}): the name {one.name!r} is that of "
                f"stages[{first[one.name]}] too. Give one of them another 'name'.",
                causes=tuple(
                    ("stages", other, key)
                    for other in (first[one.name], index)
                    for key in ("name", "use")
                ),
            )
        first.setdefault(one.name, index)


def _limits(stages: Sequence[Listed], parts: Parts, findings: Findings) -> None:
    """Check that each limit names a stage and a figure that there will be."""
    if parts.gates is None or parts.measure is None:
        return
    known = [
        NamedStage(one.name, one.use, one.kind)
        for one in stages
        if one.name is not None and one.use is not None and one.kind is not None
    ]
    if len(known) < len(stages):
        return  # what is wrong with a stage is reported already
    problems = limits_misfit(
        parts.gates.limits,
        stages=known,
        first=first_format(parts.model),
        measure=parts.measure,
        generates=parts.task is None or parts.task.target == "next-token",
    )
    for index, key, problem in problems:
        findings.report(("gates", "limits", index, key), f"gates.limits[{index}]: {problem}")


def _order(stages: Sequence[Listed], model: ModelSpec | None, findings: Findings) -> None:
    """Check that each stage takes the format before it, up to the first unknown stage."""
    known: list[tuple[str, type[Stage]]] = []
    for one in stages:
        if one.kind is None or one.use is None:
            break
        known.append((one.use, one.kind))
    first = first_format(model)
    for index, sentence in misfits_in(known, first):
        findings.report(
            ("stages", index),
            f"stages[{index}] ({known[index][0]}): {sentence}",
            causes=tuple(("stages", earlier, "use") for earlier in range(index + 1)),
        )
    for index, link in enumerate(chain(known, first)[0]):
        step = stages[index].step
        for key, problem in () if step is None else step.stage.check_given(link.given):
            prefix = f"stages[{index}] ({known[index][0]}): "
            _said_inside(findings, key, problem, at=index, prefix=prefix)


def _said_inside(findings: Findings, key: str, problem: str, *, at: int, prefix: str) -> None:
    """Add a problem that a stage found in its field `key`."""
    keys = tuple(key.split("."))
    if problem.startswith(("must ", "needs ")):
        problem = f"{keys[-1]!r} {problem}"
    findings.fault(said_by_model(keys, problem), ("stages", at), prefix)


def _tasks(stages: Sequence[Listed], task: Task, findings: Findings) -> None:
    """Check that each stage can work for the task."""
    for index, one in enumerate(stages):
        if one.kind is None or can_work(one.kind, task):
            continue
        does = ", ".join(sorted(one.kind.tasks or ()))
        because = f" The reason: {one.kind.refuses_others}." if one.kind.refuses_others else ""
        findings.report(
            ("stages", index),
            f"stages[{index}] ({one.use}): {one.use!r} can't work for the task {task.name!r}. "
            f"It can for: {does}.{because}",
            causes=(("task",), ("stages", index, "use")),
        )


def can_work(stage: type[Stage], task: Task) -> bool:
    """Return whether a stage can work for a task."""
    if task.target == "own":
        return stage.own_tasks or task.name in (stage.tasks or ())
    return stage.tasks is None or task.name in stage.tasks


def _inside(
    stages: Sequence[Listed], task: Task, model: ModelSpec, data: DataSpec, findings: Findings
) -> None:
    """Check each stage with its own `check`, given model and data."""
    replaced = False
    for index, one in enumerate(stages):
        if one.step is None or not can_work(type(one.step.stage), task):
            continue
        prefix = f"stages[{index}] ({one.use}): "
        problems = one.step.stage.check(task=task.name, model=model, data=data)
        if replaced:  # it is given another model than the recipe's
            problems = [found for found in problems if found[0] not in COUNTED_IN_MODEL]
        replaced = replaced or one.step.stage.replaces_model
        for key, problem in problems:
            _said_inside(findings, key, problem, at=index, prefix=prefix)
