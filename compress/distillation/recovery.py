"""Recovery: training after a cut, with the reference as teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.options import Options
from compress.distillation.fits import pair_problems, problems
from compress.distillation.options import Losses
from compress.distillation.students.predicted import label_problems
from compress.distillation.teacher_spec import TeacherSpec
from compress.tasks.registry import outline
from compress.training.options import TrainingOptions

if TYPE_CHECKING:
    from torch import nn

    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.data.spec import DataSpec
    from compress.training.learner import Loss
    from compress.training.loop import TrainingResult


class Recovery(Options):
    """Training after a cut, so that the model answers again as the reference does."""

    teacher: TeacherSpec = TeacherSpec()
    """How the reference model is run: its arithmetic, and whether its answers are cached."""
    training: TrainingOptions = TrainingOptions()
    """Epochs, optimizer, learning-rate schedule and arithmetic."""
    losses: Losses = Losses()
    """The loss that the model minimises."""

    def problems(self, *, task: str, data: DataSpec, key: str) -> list[tuple[str, str]]:
        """Return the problems that a recipe shows, as (dotted key, problem) pairs.

        Parameters
        ----------
        task : the recipe's task.
        data : the recipe's `data`.
        key : the key of this recovery inside its stage.
        """
        known = outline(task)
        modality, target = known.modality, known.target
        weight = self.losses.labels.weight if self.losses.labels else 0.0
        found = [
            *problems(self.losses, target=target, teacher=self.teacher, training=self.training),
            *label_problems(weight, data=data),
            *pair_problems(self.losses, data=data),
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
        artifact : gives the preprocessor of the inputs.
        description : words for the progress display.
        penalty : a further loss, on the module's weights.

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
