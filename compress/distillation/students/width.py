"""A student with fewer units than its teacher, cut from the teacher's weights.

What Sun et al. ("MobileBERT", ACL 2020) train from nothing is cut here: as in Muralidharan et al.,
"Compact Language Models via Pruning and Knowledge Distillation", NeurIPS 2024, arXiv:2407.14679,
the least important units go from every tensor that has them, and distillation mends the rest.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from compress.core.artifact import ModelSource
from compress.distillation.students.layers import Student
from compress.distillation.students.spec import Width
from compress.distillation.students.width_sizes import StudentSizes, narrowed, sizes_of
from compress.errors import StageError
from compress.models.source import TransformersSource
from compress.models.structure.cut import cut
from compress.models.structure.groups import Group, squares
from compress.models.structure.transformers.groups import family_groups
from compress.models.transformers.reconfigured import follow_config


def narrow(module: nn.Module, source: ModelSource | None, *, width: Width) -> Student:
    """A narrower copy of a transformers model, with its most important units.

    A unit's importance is the sum of the squares of all weights that make it or read it: of a
    hidden unit in every matrix of the model, of a neuron or a head in its layer, biases included.
    Units keep their order. Layer normalisation then runs over the units that are left: the student
    answers as the teacher would if its normalisations saw those alone, and all others were zero.

    Layers that were pruned before keep what they have where that is less than `width` says.

    Parameters
    ----------
    module : left as it was; of a family that `models.structure.transformers.families` describes.
    source : the module's.

    Raises
    ------
    StageError : the family isn't known, or the sizes don't fit it.
    """
    if not isinstance(source, TransformersSource):
        raise StageError(
            f"'width' needs a transformers model. Got {type(module).__name__}; give the student by "
            "'python'."
        )
    old = sizes_of(source.config)
    sizes, changes = narrowed(source.config, width)
    groups = family_groups(module, units=("hidden", "heads", "feed_forward"))
    student = cut(module, groups, [_pruned_units(module, group, sizes) for group in groups])
    narrower = replace(source, config=source.config | changes)
    follow_config(student, before=source, after=narrower)
    parts = ", ".join(
        f"{new} of {was} {name}"
        for name, new, was in (
            ("hidden units", sizes.hidden, old.hidden),
            ("neurons", sizes.neurons, old.neurons),
            ("heads", sizes.heads, old.heads),
        )
    )
    note = f"student: {parts}, those with the largest weights"
    return Student(student.eval(), narrower, (note,))


def _pruned_units(module: nn.Module, group: Group, sizes: StudentSizes) -> Tensor:
    """A group's units of least importance; of equal ones the last."""
    slices = group.slices
    kept = {"feed_forward": sizes.neurons, "heads": sizes.key_value_heads}.get(group.kind)
    if kept is None:
        kept = sizes.hidden
        # A bias or a normalisation's gain doesn't say how much is read.
        slices = tuple(each for each in slices if each.tensor_of(module).dim() > 1)
    return squares(module, slices).argsort(descending=True, stable=True)[kept:]
