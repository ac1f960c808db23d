"""Makes an n-gram classifier for the tokens and the classes of its teacher."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from compress.core.artifact import ModelSource
from compress.distillation.students.layers import Student
from compress.distillation.students.spec import Ngrams
from compress.distillation.students.untrained import seeded
from compress.errors import StageError
from compress.models.ngrams.source import NgramSource
from compress.models.transformers.vocabulary import vocabulary_size


def from_ngrams(
    spec: Ngrams,
    module: nn.Module,
    source: ModelSource | None,
    *,
    labels: Sequence[str],
    seed: int,
) -> Student:
    """An untrained n-gram classifier.

    Parameters
    ----------
    module : the model that the stage is given, whose tokenizer the student shares.
    source : the module's source.
    labels : class names in the order of the scores.
    seed : the seed of its weights.

    Raises
    ------
    StageError : the model has no vocabulary, or no labels are known.
    """
    if not labels:
        raise StageError("a student by 'ngrams' needs class names. Got no labels.")
    sizes = spec.sizes(vocabulary=vocabulary_size(module, source), classes=len(labels))
    made = NgramSource(sizes)
    with seeded(seed):
        student = made.build()
    return Student(student, made, (f"student: untrained, {spec.summarize()}",))
