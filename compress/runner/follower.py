"""Several processes on one run: the first leads, the others help with the stages that train.

The first process does everything that a single process does. Before a stage that trains it sends
the others an order. They load the stage's input from the run's folder, apply the stage with the
first process, and drop their results. So no other code depends on the number of processes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.context import Context
from compress.core.progress import Silent
from compress.errors import CompressError, InputError, StageError
from compress.runner.folder.store import load_artifact
from compress.runner.inputs import load_inputs, seed_everything
from compress.runner.leader import Begin, Finished, Order, Over

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.recipe.schema import Recipe
    from compress.report.document import Report
    from compress.runner.execution import Settings
    from compress.runner.inputs import Inputs
    from compress.stages.contract import Stage


class Follower:
    """Any process but the first: it carries out the first one's orders.

    Parameters
    ----------
    recipe : the same recipe as in the first process.
    settings : the settings of this process.
    """

    def __init__(self, recipe: Recipe, settings: Settings) -> None:
        self._recipe, self._settings = recipe, settings
        self._processes = settings.leader.processes
        self._loaded: list[Artifact] = []

    def follow(self) -> Report:
        """Work until the run is over; return its report.

        Raises
        ------
        StageError : the run failed; the first process gives the reason.
        """
        inputs: Inputs | None = None
        while True:
            message: Begin | Order | Over = self._processes.share(None)
            if isinstance(message, Over):
                if message.report is None:
                    raise StageError("the run failed in the first process.")
                return message.report
            try:
                if inputs is None:
                    inputs = load_inputs(self._recipe)
                if isinstance(message, Order):
                    self._load(message.finished, inputs)
                problem = None
            except CompressError as error:
                problem = str(error)
            if any(self._processes.gather(problem)):
                continue
            if isinstance(message, Order) and inputs is not None:
                self._apply(message, inputs)

    def _load(self, finished: Sequence[Finished], inputs: Inputs) -> None:
        for record, folder in finished[len(self._loaded) :]:
            if not folder.is_dir():
                raise InputError(
                    f"{folder} isn't there. All machines must see the run's folder: "
                    "put it on shared storage with --output."
                )
            previous = self._loaded[-1] if self._loaded else inputs.original
            self._loaded.append(
                load_artifact(
                    record,
                    folder,
                    previous=previous,
                    task=inputs.task,
                    spec=self._recipe.data,
                    python=self._settings.python,
                )
            )

    def _apply(self, order: Order, inputs: Inputs) -> None:
        _, stage = self._stages()[order.stage]
        with tempfile.TemporaryDirectory() as directory:
            context = Context(
                reference=replace(self._loaded[order.reference], notes=()),
                task=inputs.task,
                data=inputs.data,
                directory=Path(directory),
                shared=order.shared,
                seed=self._recipe.seed,
                device=self._settings.device,
                threads=self._settings.threads,
                progress=Silent(),
            )
            seed_everything(self._recipe.seed)
            stage.apply(self._loaded[-1], context)

    def _stages(self) -> Sequence[tuple[str, Stage]]:
        return self._recipe.build_stages()
