"""Finds channels that one layer can divide by scales and the next layers can multiply by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from compress.models.low_rank import LowRankLayer, is_conv1d
from compress.models.structure.transformers.families import LAYOUTS, family, laid_out_layers

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

_SEED = 0
_POWERS = (0.25, 1.0, 4.0)
"""Scales of the proof. Powers of two change only the exponent of a number."""
_ALIKE = 1e-5


@dataclass(frozen=True, eq=False)
class Fold:
    """Channels that one layer outputs and that only linear layers read.

    Attributes
    ----------
    maker : path of a normalisation or linear layer.
    start : index of the first of these channels among its outputs.
    channels : number of channels.
    readers : paths of the linear layers.
    index : (inputs of a reader,) the channel of each input; a channel is read several times if
        query heads share a value head.
    """

    maker: str
    start: int
    channels: int
    readers: tuple[str, ...]
    index: Tensor

    def apply(self, module: nn.Module, scales: Tensor) -> None:
        """Divide the channels by `scales` (channels,), and multiply the readers' weights by them.

        The layers are changed in place.
        """
        with torch.no_grad():
            maker = module.get_submodule(self.maker)
            rows = slice(self.start, self.start + self.channels)
            for name, tensor in maker.named_parameters(recurse=False):
                along = tensor.movedim(1, 0) if name == "weight" and is_conv1d(maker) else tensor
                along[rows] /= scales.reshape(-1, *[1] * (along.dim() - 1))
            for path in self.readers:
                columns(module.get_submodule(path)).mul_(scales[self.index])


def columns(reader: nn.Module) -> Tensor:
    """A linear layer's weight as (outputs, inputs); a view."""
    weight = cast("Tensor", reader.weight).detach()
    return weight.T if is_conv1d(reader) else weight


def is_linear(part: nn.Module) -> bool:
    """Return whether a module is a linear layer, and not a subclass that does more."""
    return type(part) is nn.Linear or is_conv1d(part)


def find_folds(module: nn.Module, *, task: Task, batch: Batch) -> tuple[list[Fold], list[Fold]]:
    """The folds that leave the module's outputs unchanged, and those that were tried and fail.

    Candidates come from two sources. Hooks find normalisations and linear layers whose output is
    read by linear layers, directly or through layers without weights. The model's family tells the
    values and the output of an attention, and the layers of a gated feed-forward. Each candidate is
    proved on the batch: with random powers of two as scales, the outputs must be the same. It fails
    if a normalisation also feeds a residual sum (post-norm), or if an activation function doesn't
    preserve positive factors.

    Parameters
    ----------
    module : a module in eval mode on the CPU; it is left unchanged.
    """
    kept: list[Fold] = []
    failed: list[Fold] = []
    taken: set[str] = set()
    with torch.no_grad():
        wanted = task.logits(module, batch)
        for fold in (*_seen(module, task, batch), *_described(module)):
            if taken.isdisjoint(fold.readers):
                holds = _holds(module, fold, wanted, task, batch)
                (kept if holds else failed).append(fold)
                taken.update(fold.readers if holds else ())
    return kept, failed


def _holds(module: nn.Module, fold: Fold, wanted: Tensor, task: Task, batch: Batch) -> bool:
    generator = torch.Generator().manual_seed(_SEED)
    chosen = torch.randint(len(_POWERS), (fold.channels,), generator=generator)
    with _restored(module, (fold.maker, *fold.readers)):
        fold.apply(module, torch.tensor(_POWERS)[chosen])
        got = task.logits(module, batch)
    return bool((got - wanted).abs().max() <= _ALIKE * wanted.abs().max())


@contextmanager
def _restored(module: nn.Module, paths: Iterable[str]) -> Iterator[None]:
    tensors = [p for path in paths for p in module.get_submodule(path).parameters(recurse=False)]
    before = [tensor.clone() for tensor in tensors]
    try:
        yield
    finally:
        for tensor, old in zip(tensors, before, strict=True):
            tensor.copy_(old)


def _seen(module: nn.Module, task: Task, batch: Batch) -> list[Fold]:
    """Folds that hooks find, by the identity of the tensors that pass between modules."""
    origins: dict[int, str] = {}
    readers: dict[str, list[str]] = {}
    alive: list[Any] = []  # so that no tensor's id is reused
    names = {part: name for name, part in module.named_modules()}

    def see(part: nn.Module, given: tuple[Any, ...], named: dict[str, Any], answer: Any) -> None:
        values = next((v for v in (*given, *named.values()) if isinstance(v, Tensor)), None)
        origin = origins.get(id(values))
        alive.append((values, answer))
        if is_linear(part) and origin is not None:
            readers.setdefault(origin, []).append(names[part])
        if is_linear(part) or _is_normalisation(part):
            origins[id(answer)] = names[part]
        elif origin is not None and next(part.parameters(), None) is None:
            origins[id(answer)] = origin

    leaves = [part for part in names if next(part.children(), None) is None]
    hooks = [part.register_forward_hook(see, with_kwargs=True) for part in leaves]
    try:
        task.logits(module, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return [_whole(module, maker, list(dict.fromkeys(paths))) for maker, paths in readers.items()]


def _is_normalisation(part: nn.Module) -> bool:
    """Return whether a module has only a gain, and possibly an offset, for each channel."""
    shapes = {name: tuple(tensor.shape) for name, tensor in part.named_parameters(recurse=False)}
    return "weight" in shapes and {*shapes} <= {"weight", "bias"} and (
        len({*shapes.values()}) == 1 and len(shapes["weight"]) == 1
    ) and next(part.buffers(), None) is None  # fmt: skip


def _whole(module: nn.Module, maker: str, readers: Sequence[str]) -> Fold:
    width = columns(module.get_submodule(readers[0])).shape[1]
    return Fold(maker, 0, width, tuple(readers), torch.arange(width))


def _described(module: nn.Module) -> Iterator[Fold]:
    """Folds of a known family: attention values and output; `up` and `down` of a feed-forward."""
    kind = family(module)
    for layout in LAYOUTS[kind].forms if kind else ():
        for path in laid_out_layers(module, layout):
            layer = module.get_submodule(path)
            head = int(getattr(layer.get_submodule(layout.attention), layout.head_size))
            pairs = [(layout.value, layout.output, head, 2 * layout.fused)]
            if layout.gate is not None:
                pairs.append((layout.up, layout.down, 1, int(layout.packed)))
            for maker, reader, block, before in pairs:
                fold = _joined(module, f"{path}.{maker}", f"{path}.{reader}", block, before)
                if fold is not None:
                    yield fold


def _joined(module: nn.Module, maker: str, reader: str, block: int, before: int) -> Fold | None:
    """The fold between two linear layers; None if their widths don't fit.

    Parameters
    ----------
    block : number of outputs that stay together, such as a head; several blocks of inputs can
        read the same block.
    before : number of equally wide parts that precede the fold's part in the maker's outputs.
    """
    if isinstance(module.get_submodule(maker), LowRankLayer):
        maker += ".expand"
    if isinstance(module.get_submodule(reader), LowRankLayer):
        reader += ".reduce"
    width = columns(module.get_submodule(reader)).shape[1]
    made = columns(module.get_submodule(maker)).shape[0] // (before + 1)
    if width % made or made % block:
        return None
    blocks = torch.arange(made).reshape(-1, 1, block)
    index = blocks.expand(-1, width // made, block).reshape(-1)
    return Fold(maker, before * made, made, (reader,), index)
