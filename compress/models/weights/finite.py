"""Refuses NaN and infinite weights when they are loaded, before they break anything later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from compress.errors import ModelError, clipped

if TYPE_CHECKING:
    from torch import Tensor, nn

_STATISTICS = ("running_mean", "running_var")
_NAMED = 3


def require_finite(module: nn.Module, *, name: str) -> None:
    """Refuse a module with parameters or running statistics that are NaN or infinite.

    Other buffers may hold infinities (masks do), but no NaN.

    Parameters
    ----------
    name : name of the model, for the message.

    Raises
    ------
    ModelError : values aren't finite. The message names their tensors and counts them.
    """
    found = list(_not_finite(module))
    if not found:
        return
    shown = ", ".join(found[:_NAMED])
    more = f" and {len(found) - _NAMED} more tensors" if len(found) > _NAMED else ""
    raise ModelError(f"{clipped(name)} has weights that are NaN or infinite: {shown}{more}.")


def _not_finite(module: nn.Module) -> Iterator[str]:
    for path, parameter in module.named_parameters():
        yield from _said(path, parameter, infinite=True)
    for path, buffer in module.named_buffers():
        yield from _said(path, buffer, infinite=path.rpartition(".")[2] in _STATISTICS)


def _said(path: str, tensor: Tensor, *, infinite: bool) -> Iterator[str]:
    if tensor.is_meta or not tensor.is_floating_point():
        return
    values = tensor.detach()
    wrong = int((~values.isfinite() if infinite else values.isnan()).sum())
    if wrong:
        yield f"{path} ({wrong:,} of {values.numel():,} values)"
