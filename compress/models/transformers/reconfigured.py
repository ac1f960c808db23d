"""Adapts a cut transformers model to a changed config."""

from __future__ import annotations

from torch import nn

from compress.errors import StageError, few
from compress.models.source import TransformersSource
from compress.models.weights.weightless import without_weights


def follow_config(
    module: nn.Module, *, before: TransformersSource, after: TransformersSource
) -> None:
    """Give a cut model and its parts a changed config, in place.

    Parameters
    ----------
    module : the cut model. It gets the new config, and its parts the integers that follow from it.
        Integers that a cut has made different from the old config stay.
    before, after : rebuild the skeletons of the old config and of the new one.

    Raises
    ------
    StageError : a model of the new config has other weights.
    """
    with without_weights():
        old, new = before.build(), after.build()
    odd = set(new.state_dict()) ^ set(module.state_dict())
    if odd:
        raise StageError(
            f"{after.class_name} can't be changed so: a model of the new config has other weights "
            f"({few(sorted(odd))})."
        )
    take_numbers(module, before=old, after=new)
    for path, part in new.named_modules():
        if "config" in vars(part):
            module.get_submodule(path).config = part.config


def take_numbers(module: nn.Module, *, before: nn.Module, after: nn.Module) -> None:
    """Set the integers in which two skeletons differ, in submodules that have the first's values.

    Examples are `num_embeddings`, `out_features`, `padding_idx` and sizes that a forward names.
    """
    for path, part in after.named_modules():
        old, own = vars(before.get_submodule(path)), vars(module.get_submodule(path))
        for name, value in vars(part).items():
            if type(value) is int and value != old.get(name) and own.get(name) == old.get(name):
                setattr(module.get_submodule(path), name, value)
