"""Makes the student that a recipe names."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from compress.core.artifact import ModelSource
from compress.distillation.students.layers import Student, keep_layers
from compress.distillation.students.predicted import size_line
from compress.distillation.students.spec import StudentSpec
from compress.distillation.students.untrained import (
    from_changes,
    from_config,
    from_factory,
    from_source,
)
from compress.distillation.students.width import narrow


def make_student(
    spec: StudentSpec,
    module: nn.Module,
    source: ModelSource | None,
    *,
    labels: Sequence[str],
    auto_class: str,
    seed: int,
) -> Student:
    """Make the student, before it is trained.

    Parameters
    ----------
    module : the model that the stage is given; `layers` and `width` cut a copy of it. It may have
        been pruned before, and is left as it was.
    source : the module's source.
    labels : class names in the order of the logits; empty: the source's own.
    auto_class : name of a class of `transformers`, for a student by the name of a config.
    seed : the seed of random weights.

    Raises
    ------
    StageError, ModelError : the student can't be made.
    """
    names = tuple(labels)
    if spec.keeps_weights:
        return _cut(spec, module, source)
    if spec.self:
        return from_source(source, seed=seed)
    if isinstance(spec.transformers, dict):
        return from_changes(spec.transformers, source, labels=names, seed=seed)
    if spec.transformers is not None:
        return from_config(
            spec.transformers, source, auto_class=auto_class, labels=names, seed=seed
        )
    return counted(from_factory(str(spec.python), arguments=spec.arguments, seed=seed), module)


def counted(student: Student, teacher: nn.Module) -> Student:
    """Note the student's parameters, which the recipe check couldn't count."""
    own, given = (sum(p.numel() for p in each.parameters()) for each in (student.module, teacher))
    return student._replace(
        notes=(*student.notes, f"student: {size_line(own, teacher=given)}"),
    )


def _cut(spec: StudentSpec, module: nn.Module, source: ModelSource | None) -> Student:
    notes: tuple[str, ...] = ()
    if spec.layers is not None:
        shorter = keep_layers(module, source, layers=spec.layers, which=spec.which)
        module, source, notes = shorter.module, shorter.source, shorter.notes
    if spec.width is not None:
        narrower = narrow(module, source, width=spec.width)
        return narrower._replace(notes=(*notes, *narrower.notes))
    return shorter
