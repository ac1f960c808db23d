"""Prunes channels, neurons, heads and widths, and recovers by distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from compress.core.artifact import Format
from compress.pruning.allocation.ratios import ratio_meaning
from compress.pruning.options import READ_LABELS, CutOptions
from compress.stages.contract import Stage
from compress.stages.prune.options import PruneOptions
from compress.tasks.registry import outline

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.data.spec import DataSpec
    from compress.models.spec import ModelSpec


class Prune(PruneOptions, Stage):
    """Make the model narrower: remove the least important channels, neurons and heads."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH}
    trains: ClassVar[bool] = True

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        found = []
        for key, training in (
            ("regularization", self.regularization),
            ("recovery", self.recovery),
            ("schedule", self.recovery_between() if self.schedule else None),
        ):
            if training is not None:
                found += training.problems(task=task, data=data, key=key)
        unlabelled = data.columns.label is None
        if self.importance in READ_LABELS and (unlabelled or outline(task).target == "none"):
            found.append(
                (
                    "importance",
                    f"{self.importance!r} needs labels; without them use magnitude, activation, "
                    "lamp, fpgm or batch_norm.",
                )
            )
        return found

    def warnings(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[str]:
        """Return the parameters that a ratio leaves, and how latency is measured.

        See `Stage.warnings`.
        """
        if isinstance(self.ratios, dict):
            return [ratio_meaning(self.ratios)]
        if self.target is not None and self.target.quantity == "latency":
            return [
                f"latency is measured on this machine, at batch size {self.latency.batch_size} and "
                f"with {self.latency.threads} threads of ONNX Runtime."
            ]
        return []

    def dry_run(self, artifact: Artifact, context: Context) -> Artifact | None:
        """Return the smaller structure, or None if it needs measurements; see `Stage.dry_run`."""
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
        """Return the artifact with a smaller module.

        Raises
        ------
        TargetError : the target can't be met.
        StageError : the module's structure is unknown, or a training failed.
        """
        from compress.stages.prune.apply import GradualCut

        return GradualCut(self, artifact, context).run()

    def summarize(self) -> str:
        """Return a text such as "keep 0.5 of macs; recovery: 3 epochs, adamw 0.0001, fp32"."""
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
