"""Finds the layers of a model that can be factorized, and the size of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compress.errors import StageError, few
from compress.models.low_rank import LowRankLayer, is_conv1d, is_splittable, matrix

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

_STEP, _NARROW = 8, 64
"""Ranks are multiples of `_STEP` if at least `_NARROW` are possible, as kernels work in eights."""


@dataclass(frozen=True)
class MatrixLayer:
    """A layer that can be factorized.

    Attributes
    ----------
    path : its first name in the module.
    rows, columns : shape of its matrix: outputs, and inputs times kernel.
    positions : output positions of one sample, which is the number of uses of each weight.
    """

    path: str
    rows: int
    columns: int
    positions: int

    @property
    def weights(self) -> int:
        """Number of elements of its weight."""
        return self.rows * self.columns

    @property
    def of_rank(self) -> int:
        """Number of weights that each rank adds to its two smaller layers."""
        return self.rows + self.columns

    @property
    def largest(self) -> int:
        """The largest rank at which the two smaller layers have fewer weights, or 0."""
        return (self.weights - 1) // self.of_rank

    @property
    def step(self) -> int:
        """The number that ranks are multiples of."""
        return _STEP if self.largest >= _NARROW else 1


class FoundLayers(NamedTuple):
    """Layers to factorize, and notes on layers that stay whole."""

    layers: list[MatrixLayer]
    notes: tuple[str, ...]


def find_layers(
    module: nn.Module,
    *,
    task: Task,
    inputs: Batch,
    layers: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
) -> FoundLayers:
    """Find the layers that can be split into two with fewer weights.

    The layer that makes the model's output stays whole unless `layers` names it. A layer stays
    whole if it shares its weight with another layer, or if the model doesn't call it (the model may
    read the weight itself).

    Parameters
    ----------
    module : in eval mode; run once.
    inputs : one sample.
    layers : patterns of paths; None for all.
    exclude : patterns of paths that stay whole.

    Raises
    ------
    StageError : a pattern fits no layer, or nothing can be split.
    """
    parts = {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear | _ConvNd) or is_conv1d(part)
    }
    for key, patterns in (("layers", layers or ()), ("exclude", exclude)):
        _require_known(key, patterns, parts)
    calls = _run(module, parts, task=task, inputs=inputs)
    whole = _whole_by_structure(module, parts)
    found: list[MatrixLayer] = []
    alone: dict[str, list[str]] = {}
    for path, part in parts.items():
        named = layers is not None and _fits(path, layers)
        if (layers is not None and not named) or _fits(path, exclude):
            judged: MatrixLayer | str = "'layers' or 'exclude' say so"
        else:
            judged = whole.get(path) or _judge(path, part, calls.get(path), named=named)
        if isinstance(judged, MatrixLayer):
            found.append(judged)
        else:
            alone.setdefault(judged, []).append(path or type(part).__name__)
    reasons = "; ".join(f"{few(paths, most=3)} ({why})" for why, paths in alone.items())
    if not found:
        what = f"left whole: {reasons}" if reasons else "it has no such layer"
        raise StageError(
            f"{type(module).__name__} has no linear layer or convolution to split: {what}."
        )
    return FoundLayers(found, (f"left whole: {reasons}.",) if reasons else ())


def _judge(path: str, part: nn.Module, call: _Called | None, *, named: bool) -> MatrixLayer | str:
    """Return the layer, or the reason why it stays whole."""
    if call is None:
        return "the model doesn't call it"
    if call.makes_output and not named:
        return "it makes the output"
    layer = _layer(path, part, call)
    return layer if layer.largest >= 1 else "it is too small to gain"


def _whole_by_structure(module: nn.Module, parts: Mapping[str, nn.Module]) -> dict[str, str]:
    """Return the reasons why layers can't be split, whatever the model does with them, by path."""
    factors = {
        f"{name}.{half}"
        for name, part in module.named_modules()
        if isinstance(part, LowRankLayer)
        for half in ("reduce", "expand")
    }
    owners = Counter(
        id(parameter) for part in module.modules() for parameter in part.parameters(recurse=False)
    )
    reasons = {}
    for path, part in parts.items():
        if path in factors:
            reasons[path] = "it was split before"
        elif not path or not is_splittable(part):
            reasons[path] = "its kind isn't split"
        elif owners[id(part.weight)] > 1:
            reasons[path] = "its weight belongs to another layer too"
    return reasons


class _Called(NamedTuple):
    positions: int
    makes_output: bool


def _run(
    module: nn.Module, parts: Mapping[str, nn.Module], *, task: Task, inputs: Batch
) -> dict[str, _Called]:
    """Return how the model calls its layers for one sample."""
    positions: Counter[str] = Counter()
    answers: dict[str, Tensor] = {}
    names = {part: name for name, part in parts.items()}

    def see(part: nn.Module, given: tuple[Any, ...], answer: Tensor) -> None:
        name = names[part]
        outputs = answer.shape[1] if isinstance(part, _ConvNd) else answer.shape[-1]
        positions[name] += answer.numel() // outputs
        answers[name] = answer  # held, so that no other tensor takes its memory

    hooks = [part.register_forward_hook(see) for part in parts.values()]
    try:
        with torch.no_grad():
            output = task.logits(module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    place = output.untyped_storage().data_ptr()
    return {
        name: _Called(positions[name], answer.untyped_storage().data_ptr() == place)
        for name, answer in answers.items()
    }


def _layer(path: str, part: nn.Module, call: _Called) -> MatrixLayer:
    rows, columns = matrix(part).shape
    return MatrixLayer(path, rows, columns, call.positions)


def _fits(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _require_known(key: str, patterns: Sequence[str], paths: Iterable[str]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in paths):
            raise StageError(
                f"{key!r} must be patterns that fit paths of linear or convolutional layers, such "
                f"as {few(list(paths), most=3)}. Got {pattern!r}, which fits none."
            )
