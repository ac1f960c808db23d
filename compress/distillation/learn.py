"""Trains a student with a teacher: from two modules to a trained one."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from compress.core.artifact import Artifact
from compress.core.context import Batch, Context
from compress.distillation.agreement import check_outputs
from compress.distillation.eager import eager_copy, implementation, use
from compress.distillation.ensemble.teachers import teachers_for
from compress.distillation.fits import require_fit
from compress.distillation.lesson import make_lesson
from compress.distillation.objective import Objective
from compress.distillation.options import Labels, Losses
from compress.distillation.taps import Taps
from compress.distillation.teacher_spec import TeacherSpec
from compress.distillation.terms.of_task import labels_term
from compress.errors import StageError
from compress.models.transformers.vocabulary import as_seen_by, reads_alike
from compress.training.batches import first_inputs
from compress.training.loop import Loss, TrainingResult, fit
from compress.training.options import TrainingOptions


def learn_labels(
    labels: Labels,
    *,
    artifact: Artifact,
    context: Context,
    training: TrainingOptions,
    description: str,
) -> TrainingResult:
    """Train a copy of an artifact's module on the labels alone.

    Raises
    ------
    StageError : see `compress.training.loop.fit`.
    """
    terms = [labels_term(labels, context.task)]
    return fit(
        artifact.require_module(),
        loss=Objective(terms, task=context.task, taps=Taps()),
        artifact=artifact,
        context=context,
        options=training,
        description=description,
    )


def learn(  # noqa: PLR0913 (each is read by name)
    student: nn.Module,
    *,
    losses: Losses,
    teacher: TeacherSpec,
    artifact: Artifact,
    context: Context,
    training: TrainingOptions,
    description: str,
    penalty: Loss | None = None,
    projection: Tensor | None = None,
) -> TrainingResult:
    """Train a copy of a student to answer as the reference model does.

    Parameters
    ----------
    student : left as it was.
    losses : the loss that it minimises.
    teacher : how the reference answers: in how many bits, and live or from a cache.
    artifact : gives the preprocessor of the inputs.
    description : words for the progress display.
    penalty : a further loss, on the student's weights.
    projection : (Ht, Hs) from the teacher's embeddings to the student's; None: the same space.

    Raises
    ------
    StageError : the two models don't fit each other or the losses, or the training failed.
    """
    task = context.task
    require_fit(losses, target=task.target, teacher=teacher, training=training)
    example = first_inputs(context.data, artifact.preprocessor)
    reference, shown = _reference(losses, artifact, context)
    check_outputs(student, reference, task=task, inputs=example, teacher_inputs=shown)
    before = implementation(student)
    notes: tuple[str, ...] = ()
    if losses.attention is not None and losses.attention.maps:
        student, reference = eager_copy(student), eager_copy(reference)
        notes += (f"attention was computed in eager mode while training (before: {before})",)
    lesson = make_lesson(
        losses,
        student=student,
        teacher=reference,
        task=task,
        example=example,
        seed=context.seed,
        projection=projection,
        teacher_example=shown,
    )
    asked = teachers_for(
        lesson,
        losses,
        teacher,
        reference=reference,
        artifact=artifact,
        context=context,
        training=training,
    )
    notes += asked.notes
    fitted = fit(
        student,
        loss=Objective(
            lesson.terms,
            task=task,
            taps=lesson.student_taps,
            teacher=asked.live,
            cached=asked.kept,
            head=lesson.head,
            penalty=penalty,
        ),
        artifact=artifact,
        context=context,
        options=training,
        description=description,
    )
    lesson.student_taps.remove()
    if before is not None and before != implementation(fitted.module):
        use(fitted.module, before)
    return replace(fitted, notes=(*notes, *lesson.notes, *fitted.notes))


def _reference(
    losses: Losses, artifact: Artifact, context: Context
) -> tuple[nn.Module, Batch | None]:
    """Return the reference's module, and a small batch for it if it reads other tokens.

    Raises
    ------
    StageError : it does, and a loss compares more than answers to whole texts.
    """
    if reads_alike(artifact, context.reference):
        return as_seen_by(artifact, context.reference), None
    others = sorted(set(losses.weights) - {"response", "labels"})
    if others or context.task.target not in ("class", "class-set"):
        raise StageError(
            "a student with a tokenizer of its own learns answers to whole texts: 'response' and "
            f"'labels', for classes. Got {', '.join(others) or context.task.name}."
        )
    module = context.reference.require_module()
    return module, first_inputs(context.data, context.reference.preprocessor)
