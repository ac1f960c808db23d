"""The types of a checked recipe."""

from __future__ import annotations

import hashlib
import io
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, InstanceOf, PrivateAttr, SerializeAsAny, field_validator
from ruamel.yaml import YAML

from compress.core.bounds import HEAVIEST
from compress.core.options import Options
from compress.data.spec import DataSpec
from compress.errors import expected
from compress.measurement.spec import MeasureSpec
from compress.models.spec import ModelSpec
from compress.recipe.gates.limit import Limit
from compress.stages.contract import Stage
from compress.tasks.spec import TaskSpec
from compress.tasks.task import LOWER_IS_BETTER, TASKS
from compress.training.options import Tracker

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Pattern of names that become folders."""


_FRACTIONS = {name for task in TASKS.values() for name in task.metrics} - LOWER_IS_BETTER
"""The metrics of built-in tasks that are at most 1."""
_IN_FRACTIONS = "a float in [0, 1) or null"


class Gates(Options):
    """Requirements on the models of a run. One that doesn't meet them ends with exit code 1."""

    accuracy_drop: float | None = Field(default=None, ge=0, le=HEAVIEST)
    """The largest loss of quality from the reference's, as an absolute difference; for every metric
    but perplexity. It is below 1 for metrics that are at most 1."""
    perplexity_ratio: float | None = Field(default=None, gt=0, le=HEAVIEST)
    """The largest ratio of final perplexity to original perplexity."""
    size_ratio: float | None = Field(default=None, gt=0, le=HEAVIEST)
    """The smallest ratio of original bytes to final bytes."""
    speedup: float | None = Field(default=None, gt=0, le=HEAVIEST)
    """The smallest ratio of original latency to final latency, at the first batch size measured."""
    speedup_vs_previous: float | None = Field(default=None, gt=0, le=HEAVIEST)
    """The smallest ratio of the previous row's latency to a row's own, for every row after the
    reference and at every batch size measured. A row fails if its whole interval is below; with 1,
    no stage may make the model slower."""
    limits: Annotated[tuple[Limit, ...], Field(max_length=64)] = ()
    """Limits on any figure of the report, of one stage's model or of the last one."""

    def misfits(self, metric: str) -> list[tuple[str, str]]:
        """Return the gates that can't judge a metric, as (key, problem) pairs."""
        drop = self.accuracy_drop
        if drop is not None and drop >= 1 and metric in _FRACTIONS:
            return [("accuracy_drop", expected("gates.accuracy_drop", _IN_FRACTIONS, drop))]
        falls = metric in LOWER_IS_BETTER
        given = {"accuracy_drop": self.accuracy_drop, "perplexity_ratio": self.perplexity_ratio}
        wrong, right = ("accuracy_drop", "perplexity_ratio")[:: 1 if falls else -1]
        if given[wrong] is None:
            return []
        return [(wrong, f"{wrong!r} can't judge the metric {metric!r}. {right!r} can.")]


class ReportOptions(Options):
    """What a run reports besides its figures, and to whom."""

    samples: int = Field(default=20, ge=0, le=20)
    """Most samples of the test split that the report shows, of those on which the reference and the
    final model answer differently. 0: none, for data that must not leave its place."""
    trackers: tuple[Tracker, ...] = ()
    """Trackers that every row is logged to."""

    @field_validator("trackers")
    @classmethod
    def _installed(cls, trackers: tuple[Tracker, ...]) -> tuple[Tracker, ...]:
        missing = next((name for name in trackers if find_spec(name) is None), None)
        if missing is not None:
            raise ValueError(
                f"'trackers' names {missing!r}, which isn't installed: "
                f"pip install 'compress[{missing}]'."
            )
        return trackers


class Head(Options):
    """A recipe's keys without `stages`."""

    version: Literal[1]
    """Version of the recipe format."""
    name: str = Field(pattern=NAME_PATTERN)
    """Name of the run; results go to exports/<name>."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of all randomness."""
    model: ModelSpec
    """The model that the run begins with."""
    task: str | TaskSpec
    """The task of the model, such as image-classification; or a mapping with `name` or `python` and
    `arguments`, for a task that takes arguments or is one's own."""
    data: DataSpec
    """The source of the samples."""
    measure: MeasureSpec = MeasureSpec()
    """How every row of the report is measured."""
    report: ReportOptions = ReportOptions()
    """What the report shows of the data, and where its rows are logged."""
    gates: Gates = Gates()
    """Requirements on the final model."""

    @property
    def task_name(self) -> str:
        """Name of the task; for one's own "package.module:Class"."""
        return self.task if isinstance(self.task, str) else self.task.known_as

    @property
    def task_arguments(self) -> dict[str, Any]:
        """Arguments of the task's class."""
        return {} if isinstance(self.task, str) else self.task.arguments

    @property
    def teaches(self) -> bool:
        """True if a new head may be trained first; in a recipe its stages decide."""
        return True


class Step(Options):
    """One stage in its place."""

    use: str
    """Registered name of the stage."""
    name: str = Field(pattern=NAME_PATTERN)
    """Name of its row and folder; unique in the recipe."""
    stage: SerializeAsAny[InstanceOf[Stage]]
    """The stage itself."""


class Recipe(Head):
    """A checked recipe. Made by `compress.recipe.load`."""

    stages: tuple[Step, ...] = Field(min_length=1)
    """The stages, in the order of work."""
    _source: Path | None = PrivateAttr(default=None)
    _first_row: str = PrivateAttr(default="original")

    @property
    def source(self) -> Path | None:
        """The file that the recipe was read from; None for one made in Python."""
        return self._source

    @property
    def first_row(self) -> str:
        """Name of the row of the model that the run begins with."""
        return self._first_row

    @property
    def teaches(self) -> bool:
        """True if a stage trains the model on labels, and with it a new head."""
        return any(step.stage.makes_reference for step in self.stages)

    def output_folder(self, output: Path | None = None) -> Path:
        """Return the folder of a run's results: `output` if it is given, else exports/<name>."""
        return output or Path("exports") / self.name

    def build_stages(self) -> tuple[tuple[str, Stage], ...]:
        """Return (name, stage) pairs in the order in which they run."""
        return tuple((step.name, step.stage) for step in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON, with every default filled in.

        A null that is a field's default is left out: it says only that one of several exclusive
        keys wasn't used.
        """
        head = {name: getattr(self, name) for name in Head.model_fields}
        plain = {name: _plain(value) for name, value in head.items()}
        steps = [{"use": step.use, "name": step.name, **_plain(step.stage)} for step in self.stages]
        return {**plain, "stages": steps}

    def to_yaml(self) -> str:
        """Return `to_dict` as YAML, which loads as a recipe with the same `hash`."""
        yaml = YAML()
        yaml.default_flow_style = False
        yaml.width = 100
        text = io.StringIO()
        yaml.dump(self.to_dict(), text)
        return text.getvalue()

    @property
    def hash(self) -> str:
        """SHA-256 of `to_dict`, in hex. Files with the same meaning have the same hash."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return (
        _without_unset(value.model_dump(mode="json"), value)
        if isinstance(value, BaseModel)
        else value
    )


def _without_unset(dumped: Any, value: Any) -> Any:
    """Return a dump without the nulls that are defaults.

    The dump and the dumped value are walked together.
    """
    if isinstance(value, BaseModel) and isinstance(dumped, dict):
        fields = type(value).model_fields
        return {
            name: _without_unset(item, getattr(value, name))
            for name, item in dumped.items()
            if item is not None or fields[name].default is not None
        }
    if isinstance(value, dict) and isinstance(dumped, dict):
        return {
            name: _without_unset(item, inner)
            for (name, item), inner in zip(dumped.items(), value.values(), strict=True)
        }
    if isinstance(value, list | tuple) and isinstance(dumped, list):
        return [_without_unset(item, inner) for item, inner in zip(dumped, value, strict=True)]
    return dumped
