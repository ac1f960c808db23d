"""Trains a student with a teacher: from two modules to a trained one."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Tensor, nn

from compress.core.artifact import Artifact
from compress.core.context import Context
from compress.distillation.agreement import check_outputs
from compress.distillation.cache.arrays import Kept
from compress.distillation.cache.cached import CachedTeacher
from compress.distillation.cache.open import open_cache
from compress.distillation.eager import eager_copy, implementation, use
from compress.distillation.fits import require_fit
from compress.distillation.lesson import Lesson, make_lesson
from compress.distillation.objective import Objective
from compress.distillation.options import Labels, Losses
from compress.distillation.taps import Taps
from compress.distillation.teacher import LiveTeacher
from compress.distillation.teacher_spec import CacheSpec, TeacherSpec
from compress.distillation.terms.of_task import labels_term
from compress.models.low_bit.layers import stored_bytes, to_low_bit
from compress.models.transformers.vocabulary import as_seen_by
from compress.training.acceleration import placed_copy
from compress.training.augmentation.augment import Augmenter
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
    task, reference = context.task, as_seen_by(artifact, context.reference)
    require_fit(losses, target=task.target, teacher=teacher, training=training)
    example = first_inputs(context.data, artifact.preprocessor)
    check_outputs(student, reference, task=task, inputs=example)
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
    )
    placed, of_bits = _placed(reference, bits=teacher.bits, device=context.device)
    live = LiveTeacher(
        placed,
        task=task,
        taps=lesson.teacher_taps,
        precision=training.precision,
        head=lesson.head,
    )
    cached = None
    if teacher.cache is not None:
        kept = _kept(lesson, losses, teacher.cache)
        cached = _cached(live, kept, teacher, artifact=artifact, context=context, training=training)
    notes += (*of_bits, *(cached.notes if cached else ()))
    fitted = fit(
        student,
        loss=Objective(
            lesson.terms,
            task=task,
            taps=lesson.student_taps,
            teacher=live if losses.needs_teacher else None,
            cached=cached,
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


def _placed(
    module: nn.Module, *, bits: Literal[4, 8] | None, device: str
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a copy on the device, and a note on the memory saved if it has fewer bits."""
    if bits is None:
        return placed_copy(module, device=device), ()
    smaller = to_low_bit(module, bits=bits, device=device)
    saved = f"{stored_bytes(smaller):,} bytes instead of {stored_bytes(module):,}"
    return smaller, (f"the teacher's linear layers were held in {bits} bits: {saved}",)


def _kept(lesson: Lesson, losses: Losses, cache: CacheSpec) -> Kept:
    """Return the parts of each answer that a cache holds: those that the lesson reads."""
    return Kept(
        logits=lesson.reads_logits,
        features=lesson.teacher_taps.features,
        top_k=cache.top_k,
        temperature=losses.response.temperature if losses.response else 1.0,
        dtype=cache.dtype,
    )


def _cached(
    live: LiveTeacher,
    kept: Kept,
    teacher: TeacherSpec,
    *,
    artifact: Artifact,
    context: Context,
    training: TrainingOptions,
) -> CachedTeacher:
    """Return a teacher that gives the answers needed in training from disk."""
    preprocessor = artifact.require_preprocessor()
    return open_cache(
        live,
        kept=kept,
        context=context,
        preprocessor=preprocessor,
        augmenter=Augmenter(
            training.augment,
            preprocessor=preprocessor,
            seed=context.seed,
            size=context.data.size("train"),
        ),
        batch_size=training.batch_size,
        arithmetic={"precision": training.precision, "bits": teacher.bits},
    )
