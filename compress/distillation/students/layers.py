"""Makes a student of some of its teacher's layers, like DistilBERT (Sanh et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from compress.core.artifact import ModelSource, Preprocessor
from compress.distillation.students.layer_choice import Which, chosen_layers
from compress.models.structure import shorter


class Student(NamedTuple):
    """A student before it is trained.

    Attributes
    ----------
    module : the module, in eval mode on the CPU.
    source : rebuilds its skeleton.
    notes : how it was made.
    preprocessor : reads texts with tokens of the student's own; None: it reads the teacher's.
    """

    module: nn.Module
    source: ModelSource
    notes: tuple[str, ...]
    preprocessor: Preprocessor | None = None


def keep_layers(
    module: nn.Module,
    source: ModelSource | None,
    *,
    layers: int | Sequence[int],
    which: Which = "even",
) -> Student:
    """A copy of a transformers model with some of its layers.

    Parameters
    ----------
    module : a transformers model with one list of layers; it is left as it was.
    source : the module's source.
    layers : the number of layers, at least 1; or their ascending numbers, from 0.
    which : the layers if their number is given: evenly spaced ones, the first or the last.

    Raises
    ------
    StageError : there are fewer layers; or see `compress.models.structure.shorter.keep_layers`.
    """
    total = shorter.count_layers(module, source)
    kept = chosen_layers(layers, total=total, which=which)
    student = shorter.keep_layers(module, source, kept=kept)
    note = f"student: layers {', '.join(map(str, kept))} of the teacher's {total} (from 0)"
    return Student(student.module, student.source, (note,))
