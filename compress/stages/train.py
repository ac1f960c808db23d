"""Fine-tunes the model on the labels; the result becomes the reference of later stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.artifact import Format
from compress.distillation.options import Labels
from compress.stages.contract import Stage
from compress.tasks.registry import outline
from compress.tasks.task import TASKS
from compress.training.options import TrainingOptions

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.data.spec import DataSpec
    from compress.models.spec import ModelSpec


class Train(Stage):
    """Train the model on the labels of the data."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH}
    tasks: ClassVar[frozenset[str] | None] = frozenset(
        name for name, task in TASKS.items() if task.target != "none"
    )
    makes_reference: ClassVar[bool] = True
    trains: ClassVar[bool] = True

    training: TrainingOptions = TrainingOptions()
    """Epochs, optimizer, learning-rate schedule and arithmetic."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """The fraction of each label's probability that is spread evenly over all classes."""

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        known = outline(task)
        found = self.training.misfits(modality=known.modality, target=known.target)
        return [(f"training.{key}", problem) for key, problem in found]

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the artifact with the weights of its best epoch.

        Raises
        ------
        StageError : see `compress.training.loop.fit`.
        """
        from compress.distillation.learn import learn_labels

        fitted = learn_labels(
            Labels(weight=1.0, smoothing=self.label_smoothing),
            artifact=artifact,
            context=context,
            training=self.training,
            description="train",
        )
        return artifact.with_module(fitted.module, notes=fitted.notes)

    def dry_run(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the artifact unchanged, as its structure stays; see `Stage.dry_run`."""
        return artifact

    def summarize(self) -> str:
        """Such as "3 epochs, adamw 0.0001, fp32"."""
        smoothing = f", label smoothing {self.label_smoothing:g}" if self.label_smoothing else ""
        return self.training.summarize() + smoothing
