"""A student learns from the reference model; it takes the artifact's place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from compress.core.artifact import Format
from compress.core.stage import Stage
from compress.distillation.options import Losses, StudentSpec
from compress.training.options import TrainingOptions

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.distillation.students import Student


class Distill(Stage):
    """Train a smaller student to answer as the reference model does."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH}
    tasks: ClassVar[frozenset[str] | None] = frozenset(
        {"image-classification", "text-classification"}
    )

    student: StudentSpec | None = None
    """What learns; null for the model as it comes to this stage, such as a pruned one."""
    losses: Losses = Losses()
    """What it minimises."""
    training: TrainingOptions = TrainingOptions()
    """Epochs, optimizer, learning-rate schedule and arithmetic."""

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """The artifact with the trained student as its module.

        Raises
        ------
        StageError : the student can't be made or doesn't fit the teacher, or its training failed.
        """
        from compress.distillation.agreement import check_outputs
        from compress.distillation.objective import Objective
        from compress.training.batches import first_inputs
        from compress.training.loop import fit

        teacher = context.reference.require_module()
        student = self._student(artifact, context)
        module = student.module if student else artifact.require_module()
        check_outputs(
            module,
            teacher,
            task=context.task,
            inputs=first_inputs(context.data, artifact.preprocessor),
        )
        fitted = fit(
            module,
            loss=Objective(self.losses, task=context.task, teacher=teacher, device=context.device),
            artifact=artifact,
            context=context,
            options=self.training,
            description="distill",
        )
        return artifact.with_module(
            fitted.module,
            source=student.source if student else None,
            notes=(student.notes if student else ()) + fitted.notes,
        )

    def _student(self, artifact: Artifact, context: Context) -> Student | None:
        from compress.distillation.students import keep_layers
        from compress.distillation.untrained import from_changes, from_config, from_factory
        from compress.tasks.task import task

        spec, source, labels = self.student, artifact.source, artifact.labels
        if spec is None:
            return None
        if spec.layers is not None:
            return keep_layers(artifact.require_module(), source, layers=spec.layers)
        if isinstance(spec.transformers, dict):
            return from_changes(spec.transformers, source, labels=labels, seed=context.seed)
        if spec.transformers is not None:
            auto_class = task(context.task.name).auto_class
            return from_config(
                spec.transformers, source, auto_class=auto_class, labels=labels, seed=context.seed
            )
        return from_factory(str(spec.python), arguments=spec.arguments, seed=context.seed)

    def summarize(self) -> str:
        """Such as "student: 3 layers; loss: 0.7 response (T 4) + 0.3 labels; 3 epochs, …"."""
        student = self.student.summarize() if self.student else "the model given"
        return f"student: {student}; loss: {self.losses.summarize()}; {self.training.summarize()}"
