"""Makes a student with fewer units than its teacher, cut from the teacher's weights.

Sun et al. ("MobileBERT", ACL 2020) train a narrower model from scratch. Here it is cut, as in
Muralidharan et al., "Compact Language Models via Pruning and Knowledge Distillation", NeurIPS 2024,
arXiv:2407.14679: the least important units are removed from every tensor that has them, and
distillation recovers the accuracy.
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

    A unit's importance is the sum of the squares of all weights that make it or read it. For a
    hidden unit these are in every matrix of the model; for a neuron or a head they are in its
    layer, biases included. Units keep their order. Layer normalisation then runs over the remaining
    units: the student answers like the teacher with all other units at zero and left out of
    normalisations.

    Layers that were pruned before keep their width if it is less than `width`.

    Parameters
    ----------
    module : a model of a family in `models.structure.transformers.families`; it is left as it was.
    source : the module's source.

    Raises
    ------
    StageError : the family isn't described, or the sizes don't fit it.
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
    """A group's least important units; of equally important ones the last."""
    slices = group.slices
    kept = {"feed_forward": sizes.neurons, "heads": sizes.key_value_heads}.get(group.kind)
    if kept is None:
        kept = sizes.hidden
        # Biases and gains of normalisations don't show how much a unit is read.
        slices = tuple(each for each in slices if each.tensor_of(module).dim() > 1)
    return squares(module, slices).argsort(descending=True, stable=True)[kept:]
