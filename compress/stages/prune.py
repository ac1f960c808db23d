"""Cuts channels, feed-forward neurons and attention heads, and recovers by distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.artifact import Format
from compress.core.stage import Options, Stage
from compress.distillation.recovery import Recovery
from compress.pruning.options import Scope, Target, Unit
from compress.tasks.task import TASKS

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context


class Prune(Stage):
    """Make the model narrower: the least important channels, neurons and heads are cut out."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH}
    trains: ClassVar[bool] = True
    tasks: ClassVar[frozenset[str] | None] = frozenset(TASKS) - {"text-generation"}

    target: Target
    """The fraction of the model given to this stage that remains."""
    units: tuple[Unit, ...] = Field(default=("feed_forward", "heads"), min_length=1)
    """What is cut from transformers; convolutional networks lose channels."""
    scope: Scope = "global"
    """`global` compares units over all layers; `layer` cuts the same fraction of each."""
    round_to: int | None = Field(default=None, ge=1)
    """Each layer keeps a multiple of this many channels or neurons; null: 8, and less in layers of
    fewer than 32."""
    recovery: Recovery | None = Recovery()
    """Training after the cut, with the reference as teacher; null for none, which costs most of
    the accuracy unless training follows."""

    def check(self, *, task: str, model: Options, data: Options) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        if self.recovery is None:
            return []
        return self.recovery.problems(task=task, data=data, key="recovery")

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """The artifact with a smaller module.

        Raises
        ------
        TargetError : the target can't be met.
        StageError : the module's structure is unknown, or the recovery failed.
        """
        from compress.pruning.prune import prune
        from compress.training.batches import first_inputs

        pruned = prune(
            artifact.require_module(),
            target=self.target,
            example_inputs=first_inputs(context.data, artifact.preprocessor),
            task=context.task,
            units=self.units,
            scope=self.scope,
            round_to=self.round_to,
        )
        smaller = artifact.with_module(pruned.module, notes=pruned.notes)
        if self.recovery is None:
            return smaller
        fitted = self.recovery.recover(
            smaller.require_module(), artifact=smaller, context=context, description="recover"
        )
        return smaller.with_module(fitted.module, notes=pruned.notes + fitted.notes)

    def summarize(self) -> str:
        """Such as "keep 0.5 of macs; recovery: 3 epochs, adamw 0.0001, fp32"."""
        recovery = self.recovery.training.summarize() if self.recovery else "none"
        return f"keep {self.target.fraction:g} of {self.target.quantity}; recovery: {recovery}"
