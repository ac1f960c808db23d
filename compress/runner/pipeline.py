"""Runs a recipe stage by stage, measures after each, and keeps finished stages."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.files.storage import storing
from compress.recipe.entries import python_entries
from compress.recipe.load import load_recipe, recipe_of, refuse_functions
from compress.recipe.plan import stage_warnings
from compress.report.progress import on_stderr
from compress.runner.folder.workdir import Workdir
from compress.runner.leader import Leader
from compress.stages.registry import stage_name
from compress.training.distributed.processes import join, leave, on_this_machine

if TYPE_CHECKING:
    from compress.core.progress import Progress
    from compress.data.spec import DataSpec
    from compress.measurement.spec import MeasureSpec
    from compress.models.spec import ModelSpec
    from compress.recipe.schema import Gates, Recipe, ReportOptions
    from compress.report.document import Report
    from compress.runner.execution import Settings
    from compress.stages.contract import Stage


def run(
    recipe: Recipe | str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    output: str | os.PathLike[str] | None = None,
    device: str = "auto",
    threads: int | None = None,
    fresh: bool = False,
    python: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Run a recipe as the command does; take finished stages of an earlier run from disk.

    Parameters
    ----------
    recipe : a recipe, or the path of one.
    overrides : "a.b=value" changes to the recipe's keys; allowed only with a path.
    output : the run's folder; exports/<name> by default.
    device : "auto", "cpu" or "cuda".
    threads : torch threads; as many as the process may use by default.
    fresh : forget the results of an earlier run in the folder.
    python : False refuses a recipe that names functions (`python: package.module:function`), and
        a checkpoint in the run's folder that names one. Use it for a recipe from a stranger.
    progress : shows the progress; by default bars or lines on stderr. `Silent()` shows nothing.

    Returns
    -------
    The report, whose `status` is "passed" or "gate_failed". It also lies in the run's folder.

    Raises
    ------
    RecipeError, InputError : the recipe, or what it names, is wrong; nothing was written.
    StageError : a stage failed; report.json holds the rows before it.

    Notes
    -----
    If several processes were launched together (`accelerate launch`, `torchrun`), all of them must
    call this function. The first one runs the recipe, and the others help it with training. All
    return the same report.
    """
    from compress.runner.execution import Settings
    from compress.runner.follower import Follower
    from compress.runner.inputs import available_cpus, resolve_device, torch_threads

    if isinstance(recipe, str | os.PathLike):
        recipe = load_recipe(Path(recipe), overrides=overrides, python=python)
    elif overrides:
        raise TypeError("'overrides' go with the path of a recipe; change a Recipe value itself.")
    elif not python:
        refuse_functions(recipe)
    device = resolve_device(device)
    leader = Leader(join(device))
    settings = Settings(
        device=device,
        threads=threads or max(1, available_cpus() // on_this_machine()),
        progress=progress or on_stderr(),
        leader=leader,
        python=python,
    )
    with torch_threads(settings.threads):
        if leader.processes.first:
            folder = recipe.output_folder(None if output is None else Path(output))
            report = _lead(recipe, settings, folder, fresh=fresh)
        else:
            report = Follower(recipe, settings).follow()
    leave()
    return report


def _lead(recipe: Recipe, settings: Settings, folder: Path, *, fresh: bool) -> Report:
    """Run the recipe in the first process, or in the only one."""
    from compress.runner.execution import Execution
    from compress.runner.inputs import load_inputs

    leader = settings.leader
    workdir = Workdir(folder)
    with leader.leading(), storing():
        for entry in python_entries(recipe):
            settings.progress.say(f"runs code that the recipe names: {entry}")
        workdir.require_usable()
        inputs = load_inputs(recipe)
        with closing(inputs):
            for name, lines in stage_warnings(recipe).items():
                for line in lines:
                    settings.progress.say(f"{name}: {line}")
            with workdir.open():
                if fresh:
                    workdir.forget()
                leader.begin()
                report = Execution(recipe, inputs, workdir, settings).go()
    leader.end(report)
    return report


class Pipeline:
    """A recipe as a Python object: stages in order, with a model and data.

    Parameters
    ----------
    stages : the stages, in the order in which they run.
    name : name of the run and of its folder.
    model, data, measure, gates, report : sections of a recipe, each as a spec or as its keys.
    task : name of the task, such as "text-classification".
    seed : seed of all randomness.

    Raises
    ------
    RecipeError : the recipe check finds problems; it holds all of them.

    Examples
    --------
    >>> from compress import Export, Pipeline, Quantize
    >>> pipeline = Pipeline(
    ...     [Quantize(), Export()],
    ...     name="mine",
    ...     model={"python": "compress.models.resnet:resnet", "arguments": {"num_classes": 10}},
    ...     task="image-classification",
    ...     data={"sklearn": "digits"},
    ... )
    >>> report = pipeline.run()  # doctest: +SKIP
    """

    def __init__(  # noqa: PLR0913 (each is a key of a recipe)
        self,
        stages: Sequence[Stage],
        *,
        name: str,
        model: ModelSpec | Mapping[str, Any],
        task: str,
        data: DataSpec | Mapping[str, Any],
        measure: MeasureSpec | Mapping[str, Any] | None = None,
        gates: Gates | Mapping[str, Any] | None = None,
        report: ReportOptions | Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        head = {
            "version": 1,
            "name": name,
            "seed": seed,
            "model": model,
            "task": task,
            "data": data,
            "measure": measure or {},
            "gates": gates or {},
            "report": report or {},
        }
        self.recipe = recipe_of(_named(stages), head)

    def run(
        self,
        *,
        output: str | os.PathLike[str] | None = None,
        device: str = "auto",
        threads: int | None = None,
        fresh: bool = False,
        python: bool = True,
        progress: Progress | None = None,
    ) -> Report:
        """Run the pipeline; parameters, result and errors are those of `run`."""
        return run(
            self.recipe,
            output=output,
            device=device,
            threads=threads,
            fresh=fresh,
            python=python,
            progress=progress,
        )


def _named(stages: Sequence[Stage]) -> list[tuple[str, Stage]]:
    """Return stages with their names; a repeated one is named "prune-2", "prune-3" …"""
    seen: Counter[str] = Counter()
    named = []
    for stage in stages:
        use = stage_name(stage)
        seen[use] += 1
        named.append((use if seen[use] == 1 else f"{use}-{seen[use]}", stage))
    return named
