"""Trains a student to answer as the reference model does; the student replaces the artifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from compress.core.artifact import Format
from compress.data.spec import DataSpec
from compress.distillation.fits import pair_problems, problems
from compress.distillation.options import Losses
from compress.distillation.students.predicted import (
    data_problems,
    label_problems,
    student_lines,
    student_problems,
)
from compress.distillation.students.spec import StudentSpec
from compress.distillation.teacher_spec import TeacherSpec
from compress.errors import StageError
from compress.models.spec import ModelSpec
from compress.stages.contract import Stage
from compress.tasks.contract import Task as OwnTask
from compress.tasks.registry import outline
from compress.training.options import TrainingOptions

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.artifact import Artifact
    from compress.core.context import Context, Task
    from compress.distillation.students.layers import Student


class Distill(Stage):
    """Train a smaller student to answer as the reference model does."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH}
    trains: ClassVar[bool] = True

    student: StudentSpec | None = None
    """The model to train; null for the model that this stage is given, such as a pruned one."""
    teacher: TeacherSpec = TeacherSpec()
    """How the reference model is run: its arithmetic, and whether its answers are cached."""
    losses: Losses = Losses()
    """The loss that the student minimises."""
    unlabeled: DataSpec | None = None
    """More training samples. Their labels aren't read; the teacher's answers replace them. A task
    on the contract then needs `losses.labels: null`, unless it makes its labels of the samples."""
    training: TrainingOptions = TrainingOptions()
    """Epochs, optimizer, learning-rate schedule and arithmetic."""

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        known = outline(task)
        target = known.target
        weight = self.losses.labels.weight if self.losses.labels else 0.0
        return [
            *problems(self.losses, target=target, teacher=self.teacher, training=self.training),
            *label_problems(weight, data=data),
            *pair_problems(self.losses, data=data),
            *data_problems(self.unlabeled, key="unlabeled"),
            *self._unlabeled_of_own(known),
            *(
                (f"training.{key}", problem)
                for key, problem in self.training.misfits(modality=known.modality, target=target)
            ),
            *student_problems(self.student, model=model, task=task, max_length=data.max_length),
        ]

    def _unlabeled_of_own(self, task: Task) -> list[tuple[str, str]]:
        if self.unlabeled is None or "labels" not in self.losses.weights:
            return []
        # One that isn't imported yet, and so has no outputs, is looked at by the dry run.
        if not isinstance(task, OwnTask) or task.label_column is None or not task.outputs:
            return []
        why = f"a batch of {task.name} has labels of all of its samples or of none"
        return [("losses.labels", f"must be null with 'unlabeled': {why}.")]

    def _require_no_labels(self, task: Task) -> None:
        for key, problem in self._unlabeled_of_own(task):
            raise StageError(f"{key!r} {problem}")

    def warnings(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[str]:
        """Return the student's number of parameters; see `Stage.warnings`."""
        return student_lines(self.student, model=model, task=task)

    @property
    def replaces_model(self) -> bool:
        """See `Stage.replaces_model`."""
        return self.student is not None and not (self.student.keeps_weights or self.student.self)

    def input_files(self) -> tuple[Path, ...]:
        """See `Stage.input_files`."""
        return () if self.unlabeled is None else self.unlabeled.local_paths()

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the artifact with the trained student as its module.

        Raises
        ------
        DataError : the unlabeled data can't be read.
        StageError : the student can't be made or doesn't fit the teacher, or its training failed.
        """
        from compress.distillation.learn import learn

        student, projection = self._student(artifact, context)
        if student is not None and student.preprocessor is not None:
            artifact = replace(artifact, preprocessor=student.preprocessor)
        context, notes = self._with_unlabeled(artifact, context)
        fitted = learn(
            student.module if student else artifact.require_module(),
            losses=self.losses,
            teacher=self.teacher,
            artifact=artifact,
            context=context,
            training=self.training,
            description="distill",
            projection=projection,
        )
        return artifact.with_module(
            fitted.module,
            source=student.source if student else None,
            notes=(*(student.notes if student else ()), *notes, *fitted.notes),
        )

    def _student(
        self, artifact: Artifact, context: Context
    ) -> tuple[Student | None, Tensor | None]:
        """Return the student, and the way from the teacher's embeddings to a static one's."""
        from compress.distillation.students.build import counted
        from compress.distillation.students.ngrams import ngram_student
        from compress.distillation.students.static_table import static_student

        if self.student is not None and self.student.static is not None:
            return static_student(self.student.static, artifact, context)
        if self.student is not None and self.student.ngrams is not None:
            made = ngram_student(self.student.ngrams, artifact, context)
            return counted(made, artifact.require_module()), None
        return self._made(artifact, context), None

    def _made(self, artifact: Artifact, context: Context) -> Student | None:
        """Return a student that is made without the data and the teacher."""
        from compress.distillation.students.build import make_student

        if self.student is None:
            return None
        return make_student(
            self.student,
            artifact.require_module(),
            artifact.source,
            labels=artifact.labels,
            auto_class=context.task.auto_class,
            seed=context.seed,
        )

    def _with_unlabeled(
        self, artifact: Artifact, context: Context
    ) -> tuple[Context, tuple[str, ...]]:
        from compress.data.dataset import Dataset
        from compress.data.fields.dataset import TaskData
        from compress.data.fields.unlabeled import with_unlabeled_inputs
        from compress.data.unlabeled import with_unlabeled

        if self.unlabeled is None:
            return context, ()
        data: Dataset | TaskData
        if isinstance(context.data, TaskData):
            self._require_no_labels(context.task)
            preprocessor = artifact.require_preprocessor()
            data = with_unlabeled_inputs(
                context.data, self.unlabeled, seed=context.seed, preprocessor=preprocessor
            )
        elif isinstance(context.data, Dataset):
            data = with_unlabeled(
                context.data, self.unlabeled, task=context.task, seed=context.seed
            )
        else:
            raise StageError("'unlabeled' goes with data that a recipe names.")
        return replace(context, data=data), data.notes[-1:]

    def dry_run(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the untrained student; see `Stage.dry_run`."""
        self._require_no_labels(context.task)
        student = self._empty(artifact, context)
        if student is None:
            return artifact
        if student.preprocessor is not None:
            artifact = replace(artifact, preprocessor=student.preprocessor)
        return artifact.with_module(student.module, source=student.source)

    def _empty(self, artifact: Artifact, context: Context) -> Student | None:
        from compress.distillation.students.ngrams import empty_ngrams
        from compress.distillation.students.static_table import empty_student

        if self.student is not None and self.student.static is not None:
            return empty_student(self.student.static, artifact, context)
        if self.student is not None and self.student.ngrams is not None:
            return empty_ngrams(self.student.ngrams, artifact, context)
        return self._made(artifact, context)

    def summarize(self) -> str:
        """Such as "student: 3 layers; loss: 0.7 response (T 4) + 0.3 labels; 3 epochs, …"."""
        student = self.student.summarize() if self.student else "the model given"
        teacher = self.teacher.summarize()
        return "; ".join(
            [
                f"student: {student}",
                *([f"teacher {teacher}"] if teacher else []),
                f"loss: {self.losses.summarize()}",
                self.training.summarize(),
            ]
        )
