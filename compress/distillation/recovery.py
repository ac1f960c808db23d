"""Training after a cut: the model learns again to answer as the reference does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.options import Options
from compress.distillation.fits import problems
from compress.distillation.options import Losses
from compress.distillation.students.predicted import label_problems
from compress.distillation.teacher_spec import TeacherSpec
from compress.tasks.task import TASKS
from compress.training.options import TrainingOptions

if TYPE_CHECKING:
    from torch import nn

    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.data.spec import DataSpec
    from compress.training.learner import Loss
    from compress.training.loop import TrainingResult


class Recovery(Options):
    """How a model that was cut learns again to answer as the reference does."""

    teacher: TeacherSpec = TeacherSpec()
    """How the reference model answers: its arithmetic, and whether its answers are kept."""
    training: TrainingOptions = TrainingOptions()
    """Epochs, optimizer, learning-rate schedule and arithmetic."""
    losses: Losses = Losses()
    """What it minimises."""

    def problems(self, *, task: str, data: DataSpec, key: str) -> list[tuple[str, str]]:
        """What can be seen to be wrong with it in a recipe: (dotted key, what is wrong).

        Parameters
        ----------
        task : the recipe's.
        data : the recipe's `data`.
        key : where it stands inside its stage.
        """
        modality, target = TASKS[task].modality, TASKS[task].target
        weight = self.losses.labels.weight if self.losses.labels else 0.0
        found = [
            *problems(self.losses, target=target, teacher=self.teacher, training=self.training),
            *label_problems(weight, data=data),
            *(
                (f"training.{name}", problem)
                for name, problem in self.training.misfits(modality=modality, target=target)
            ),
        ]
        return [(f"{key}.{name}", problem) for name, problem in found]

    def recover(
        self,
        module: nn.Module,
        *,
        artifact: Artifact,
        context: Context,
        description: str,
        penalty: Loss | None = None,
    ) -> TrainingResult:
        """Train a copy of a module, with the reference as teacher.

        Parameters
        ----------
        module : left as it was.
        artifact : whose preprocessor makes the inputs.
        description : of the work, for the progress display.
        penalty : what it minimises besides, of the module's weights.

        Raises
        ------
        StageError : see `compress.distillation.learn.learn`.
        """
        from compress.distillation.learn import learn

        return learn(
            module,
            losses=self.losses,
            teacher=self.teacher,
            artifact=artifact,
            context=context,
            training=self.training,
            description=description,
            penalty=penalty,
        )
