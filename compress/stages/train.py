"""Fine-tunes the model on the labels; its result becomes the reference of what follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.artifact import Format
from compress.core.stage import Stage
from compress.training.options import TrainingOptions

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context


class Train(Stage):
    """Train the model on the labels of the data."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH}
    tasks: ClassVar[frozenset[str] | None] = frozenset(
        {"image-classification", "text-classification"}
    )
    makes_reference: ClassVar[bool] = True

    training: TrainingOptions = TrainingOptions()
    """Epochs, optimizer, learning-rate schedule and arithmetic."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Part of each label's probability that is spread over all classes."""

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """The artifact with its best epoch's weights.

        Raises
        ------
        StageError : see `compress.training.loop.fit`.
        """
        from compress.distillation.objective import Objective
        from compress.distillation.options import Labels, Losses
        from compress.training.loop import fit

        labels = Labels(weight=1.0, smoothing=self.label_smoothing)
        fitted = fit(
            artifact.require_module(),
            loss=Objective(
                Losses(response=None, labels=labels),
                task=context.task,
                teacher=None,
                device=context.device,
            ),
            artifact=artifact,
            context=context,
            options=self.training,
            description="train",
        )
        return artifact.with_module(fitted.module, notes=fitted.notes)

    def summarize(self) -> str:
        """Such as "3 epochs, adamw 0.0001, fp32"."""
        smoothing = f", label smoothing {self.label_smoothing:g}" if self.label_smoothing else ""
        return self.training.summarize() + smoothing
