"""Makes an n-gram classifier for its teacher's classes, with the teacher's tokens or its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from compress.core.artifact import Artifact
from compress.core.context import Context
from compress.data.dataset import Dataset
from compress.data.texts.encode import TextPreprocessor
from compress.data.vocabulary.pieces import train_pieces
from compress.distillation.students.layers import Student
from compress.distillation.students.ngram_start import linear_start
from compress.distillation.students.spec import Ngrams
from compress.distillation.students.untrained import seeded
from compress.errors import StageError
from compress.models.ngrams.module import NgramClassifier
from compress.models.ngrams.source import NgramSource
from compress.models.transformers.vocabulary import vocabulary_size

_SHOWN = 2000
"""Texts that the tokenizer of an empty student is trained on."""


def ngram_student(spec: Ngrams, artifact: Artifact, context: Context) -> Student:
    """An n-gram classifier before distillation, with the weights that it starts from.

    Parameters
    ----------
    artifact : the model that the stage is given, whose tokenizer the student shares if it has none
        of its own.

    Raises
    ------
    StageError : the model has no vocabulary, no labels are known, or the data doesn't fit.
    """
    student = _untrained(spec, artifact, context, most=None)
    if spec.start == "random":
        return student
    given = student.preprocessor or artifact.require_preprocessor()
    module = student.module
    if not isinstance(module, NgramClassifier):
        raise TypeError(f"an n-gram classifier is needed. Got {type(module).__name__}.")
    started = linear_start(module, given, context)
    return student._replace(
        module=started.module,
        source=NgramSource(started.module.sizes),
        notes=(*student.notes, *started.notes),
    )


def empty_ngrams(spec: Ngrams, artifact: Artifact, context: Context) -> Student:
    """An n-gram classifier with random weights; its own tokenizer has seen a few texts alone.

    Raises
    ------
    StageError : see `ngram_student`.
    """
    return _untrained(spec, artifact, context, most=_SHOWN)


def _untrained(spec: Ngrams, artifact: Artifact, context: Context, *, most: int | None) -> Student:
    if not artifact.labels:
        raise StageError("a student by 'ngrams' needs class names. Got no labels.")
    preprocessor, notes = None, [f"student: {spec.summarize()}"]
    if spec.vocabulary is None:
        tokens = vocabulary_size(artifact.require_module(), artifact.source)
    else:
        preprocessor = _own(spec.vocabulary, artifact, context, most=most)
        tokens = len(preprocessor.tokenizer)
        notes.append(f"a tokenizer of {tokens:,} tokens was trained on the train split")
    sizes = spec.sizes(vocabulary=tokens, classes=len(artifact.labels))
    made = NgramSource(replace(sizes, kept=min(sizes.rows, spec.rows)) if spec.rows else sizes)
    with seeded(context.seed):
        module = made.build()
    return Student(module, made, tuple(notes), preprocessor)


def _own(size: int, artifact: Artifact, context: Context, *, most: int | None) -> TextPreprocessor:
    """The preprocessor with a tokenizer that is trained on the train split's first texts."""
    if not isinstance(context.data, Dataset):
        raise StageError("a tokenizer of the student's own goes with data that a recipe names.")
    texts: Iterable[str] = islice(context.data.texts("train"), most)
    length = artifact.require_preprocessor().max_length
    if length is None:
        raise StageError("a student by 'ngrams' needs a task on texts.")
    with context.progress.track("training a tokenizer", 1) as advance:
        tokenizer = train_pieces(texts, size=size, max_length=length)
        advance()
    return TextPreprocessor(tokenizer, length)
