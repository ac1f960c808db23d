"""Makes the teachers that a lesson asks: live, from a cache, the linear rival, or several."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import nn

from compress.core.artifact import Artifact
from compress.core.context import Context
from compress.distillation.answers import Teacher
from compress.distillation.cache.arrays import Kept
from compress.distillation.cache.cached import CachedTeacher
from compress.distillation.cache.open import open_cache
from compress.distillation.cache.rival import open_rival
from compress.distillation.ensemble.averaged import AveragedTeacher
from compress.distillation.lesson import Lesson
from compress.distillation.options import Losses
from compress.distillation.teacher import LiveTeacher
from compress.distillation.teacher_spec import CacheSpec, TeacherSpec
from compress.models.low_bit.layers import stored_bytes, to_low_bit
from compress.models.transformers.vocabulary import reads_alike
from compress.training.acceleration import placed_copy
from compress.training.augmentation.augment import Augmenter
from compress.training.options import TrainingOptions


class Teachers(NamedTuple):
    """Whom an `Objective` asks.

    Attributes
    ----------
    live : answers every batch; None if nothing is learned from a teacher, or all are on disk.
    kept : answers batches that name their samples; None: the live one does.
    notes : sentences for the report.
    """

    live: Teacher | None
    kept: Teacher | None
    notes: tuple[str, ...]


def teachers_for(
    lesson: Lesson,
    losses: Losses,
    spec: TeacherSpec,
    *,
    reference: nn.Module,
    artifact: Artifact,
    context: Context,
    training: TrainingOptions,
) -> Teachers:
    """Place the reference on the device, open caches, and train the linear rival, as is asked.

    Parameters
    ----------
    reference : the reference's module, on the CPU.
    artifact : the student's. If its tokens aren't the reference's, the reference reads each text
        by its own tokenizer, and its answers are kept on disk.

    Raises
    ------
    DataError, StageError : see `open_cache` and `open_rival`.
    """
    if not losses.needs_teacher:
        return Teachers(None, None, ())
    notes: tuple[str, ...] = ()
    asked: list[Teacher] = []
    live: LiveTeacher | None = None
    alike, cached = reads_alike(artifact, context.reference), None
    if spec.asks_reference:
        placed, notes = _placed(reference, bits=spec.bits, device=context.device)
        live = LiveTeacher(
            placed,
            task=context.task,
            taps=lesson.teacher_taps,
            precision=training.precision,
            head=lesson.head,
        )
        if spec.cache is not None or not alike:
            reader = artifact if alike else context.reference
            cached = _cached(live, lesson, losses, spec, reader, context, training, alike=alike)
            notes += cached.notes
        asked.append(cached or live)
    if not spec.asks_baseline:
        return Teachers(live if alike else None, cached, notes)
    rival = open_rival(context, classes=len(artifact.labels))
    asked.append(rival)
    return Teachers(
        None, AveragedTeacher(asked, target=context.task.target), (*notes, *rival.notes)
    )


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
    lesson: Lesson,
    losses: Losses,
    spec: TeacherSpec,
    reader: Artifact,
    context: Context,
    training: TrainingOptions,
    *,
    alike: bool,
) -> CachedTeacher:
    """Return a teacher that gives the answers needed in training from disk.

    Where the student has other tokens, the answers are to the texts as they are.
    """
    preprocessor = reader.require_preprocessor()
    return open_cache(
        live,
        kept=_kept(lesson, losses, spec.cache or CacheSpec()),
        context=context,
        preprocessor=preprocessor,
        augmenter=Augmenter(
            training.augment if alike else None,
            preprocessor=preprocessor,
            seed=context.seed,
            size=context.data.size("train"),
        ),
        batch_size=training.batch_size,
        arithmetic={"precision": training.precision, "bits": spec.bits},
        as_they_are=not alike,
    )
