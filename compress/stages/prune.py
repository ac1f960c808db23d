"""Cuts channels, neurons, heads and widths, and recovers by distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from compress.core.artifact import Format
from compress.core.stage import Options, Stage
from compress.distillation.recovery import Recovery
from compress.errors import expected
from compress.pruning.latency.options import LatencyOptions
from compress.pruning.options import READ_LABELS, CutOptions
from compress.pruning.ratios import ratio_meaning
from compress.pruning.schedule import Schedule
from compress.stages.prune_options import Regularization
from compress.tasks.task import TASKS

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context


class Prune(CutOptions, Stage):
    """Make the model narrower: the least important channels, neurons and heads are cut out."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH}
    trains: ClassVar[bool] = True
    tasks: ClassVar[frozenset[str] | None] = frozenset(TASKS)

    latency: LatencyOptions = LatencyOptions()
    """How latency is measured where it is the target."""
    regularization: Regularization | None = None
    """Training before the cut, with a penalty that drives units towards zero; null for none."""
    schedule: Schedule | None = None
    """Cut in several steps, with training between; null: all at once."""
    recovery: Recovery | None = Recovery()
    """Training after the cut, with the reference as teacher; null for none, which costs most of
    the accuracy unless training follows."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Prune:
        if self.schedule is not None and self.recovery is None:
            raise ValueError(expected("recovery", "given with 'schedule'", None))
        grows = self.regularization is not None and self.regularization.needs_plan
        if self.schedule is not None and grows:
            raise ValueError(
                expected("schedule", "null with the penalty 'growing'", self.schedule.steps)
            )
        return self

    def cut_options(self) -> dict[str, Any]:
        """The fields of `CutOptions`."""
        return {name: getattr(self, name) for name in CutOptions.model_fields}

    def recovery_between(self) -> Recovery:
        """The training after a step that isn't the last."""
        recovery, schedule = self.recovery or Recovery(), self.schedule or Schedule()
        return recovery.model_copy(update={"training": schedule.training})

    def check(self, *, task: str, model: Options, data: Options) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        found = []
        for key, training in (
            ("regularization", self.regularization),
            ("recovery", self.recovery),
            ("schedule", self.recovery_between() if self.schedule else None),
        ):
            if training is not None:
                found += training.problems(task=task, data=data, key=key)
        unlabelled = getattr(getattr(data, "columns", None), "label", "") is None
        if self.importance in READ_LABELS and (unlabelled or TASKS[task].target == "none"):
            found.append(
                (
                    "importance",
                    f"{self.importance!r} needs labels; without them use magnitude, activation, "
                    "lamp, fpgm or batch_norm.",
                )
            )
        return found

    def foresee(self, *, task: str, model: Options, data: Options) -> list[str]:
        """What a ratio means in parameters, and how a latency is measured; see `Stage.foresee`."""
        if isinstance(self.ratios, dict):
            return [ratio_meaning(self.ratios)]
        if self.target is not None and self.target.quantity == "latency":
            return [
                f"latency is measured on this machine, at batch size {self.latency.batch_size} and "
                f"with {self.latency.threads} threads of ONNX Runtime."
            ]
        return []

    def rehearse(self, artifact: Artifact, context: Context) -> Artifact | None:
        """The smaller structure where it needs no measurement; see `Stage.rehearse`."""
        from compress.pruning.prune import prune
        from compress.training.batches import first_inputs

        if self.target is not None and self.target.quantity in ("size", "latency"):
            return None
        given = self.cut_options() | {"importance": "magnitude", "sensitivity": None}
        if self.ratios == "auto":
            given["ratios"] = None
        pruned = prune(
            artifact.require_module(),
            CutOptions.model_validate(given),
            example_inputs=first_inputs(context.data, artifact.preprocessor),
            task=context.task,
        )
        return artifact.with_module(pruned.module)

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """The artifact with a smaller module.

        Raises
        ------
        TargetError : the target can't be met.
        StageError : the module's structure is unknown, or a training failed.
        """
        from compress.stages.gradual import GradualCut

        return GradualCut(self, artifact, context).run()

    def summarize(self) -> str:
        """Such as "keep 0.5 of macs; recovery: 3 epochs, adamw 0.0001, fp32"."""
        if self.target is not None:
            auto = ", spent by sensitivity" if self.ratios == "auto" else ""
            what = f"keep {self.target.fraction:g} of {self.target.quantity}{auto}"
        else:
            each = self.ratios.items() if isinstance(self.ratios, dict) else ()
            what = "remove " + ", ".join(f"{ratio:g} of {pattern}" for pattern, ratio in each)
        by = "" if self.importance == "magnitude" else f" by {self.importance}"
        steps = f" in {self.schedule.steps} steps" if self.schedule else ""
        before = f" after {self.regularization.penalty}" if self.regularization else ""
        recovery = self.recovery.training.summarize() if self.recovery else "none"
        return f"{what}{by}{steps}{before}; recovery: {recovery}"
