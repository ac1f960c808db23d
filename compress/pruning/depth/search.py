"""Measures how a model's answers change without some of its layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compress.core.artifact import ModelSource
from compress.core.batch import model_inputs
from compress.core.context import Batch, Loader, Task
from compress.core.progress import Advance
from compress.errors import StageError
from compress.models.structure.layers import layer_paths
from compress.models.structure.shorter import count_layers, keep_layers
from compress.pruning.sensitivity.divergence import distances, real_tokens
from compress.training.acceleration import placed_batch


class LayerSearch:
    """A whole model, and models with fewer of its layers that share its weights.

    Parameters
    ----------
    module : the module, in eval mode on the device to measure on; it is left as it was.
    source : the module's source.
    task : runs the modules.
    batches : the samples to measure on; each measurement reads them once.

    Attributes
    ----------
    total : number of layers of the whole model.
    bound : layers that can't be removed, each with the reason.

    Raises
    ------
    StageError : see `compress.models.structure.shorter.count_layers`.
    """

    def __init__(
        self, module: nn.Module, source: ModelSource | None, *, task: Task, batches: Loader
    ) -> None:
        self.total = count_layers(module, source)
        self.bound: dict[int, str] = {}
        self._module, self._source = module, source
        self._task, self._batches = task, batches
        self._device = next(module.parameters()).device
        self._whole = self.part(range(self.total))

    def part(self, kept: Sequence[int]) -> nn.Module:
        """The model with these layers only. It shares the whole model's weights."""
        return keep_layers(self._module, self._source, kept=kept, share=True).module

    def candidates(self, kept: Sequence[int]) -> dict[int, nn.Module]:
        """For each kept layer that can be removed, the model without it too.

        Raises
        ------
        StageError : none of the layers can be removed.
        """
        found = {}
        for layer in kept:
            try:
                found[layer] = self.part([other for other in kept if other != layer])
            except StageError as error:
                self.bound[layer] = str(error)
        if not found:
            raise StageError(
                f"no more than {self.total - len(kept)} of {self.total} layers can be removed: "
                f"{self.bound[kept[0]]}"
            )
        return found

    @torch.no_grad()
    def divergences(self, parts: Sequence[nn.Module], advance: Advance) -> list[float]:
        """Divergence of each part's answers from the whole model's; infinite if not a number.

        Parameters
        ----------
        advance : called after each batch of each part.
        """
        sums, weight = [0.0] * len(parts), 0.0
        for batch in self._placed():
            wanted = self._task.logits(self._whole, batch)
            for place, part in enumerate(parts):
                answer = self._task.logits(part, batch)
                found, counted = distances(wanted, answer, batch=batch, target=self._task.target)
                sums[place] += found
                advance()
            weight += counted
        if not 0 < weight < math.inf:
            raise StageError(f"{type(self._module).__name__}'s own answers aren't all numbers.")
        means = [total / weight for total in sums]
        return [mean if math.isfinite(mean) else math.inf for mean in means]

    @torch.no_grad()
    def influences(self, advance: Advance) -> list[float]:
        """One minus the cosine similarity of each layer's input and output, averaged over tokens.

        Parameters
        ----------
        advance : called after each batch.
        """
        watched = self.part(range(self.total))
        seen: dict[str, Tensor] = {}
        paths = layer_paths(watched)
        for path in paths:
            _watch(watched.get_submodule(path), seen, path)
        sums, tokens = torch.zeros(self.total, dtype=torch.float64), 0
        for batch in self._placed():
            self._task.logits(watched, batch)
            similarities = [real_tokens(seen[path], batch) for path in paths]
            sums += torch.stack([(1 - each.double()).sum().cpu() for each in similarities])
            tokens += similarities[0].numel()
            advance()
        found: list[float] = (sums / tokens).tolist()
        if not all(math.isfinite(value) for value in found):
            raise StageError(f"{type(self._module).__name__}'s hidden states aren't all numbers.")
        return found

    def _placed(self) -> Iterator[Batch]:
        empty = True
        for batch in self._batches:
            empty = False
            yield placed_batch(model_inputs(batch), device=self._device, channels_last=False)
        if empty:
            raise StageError("the calibration split gave no batch to measure layers on.")


def _watch(layer: nn.Module, seen: dict[str, Tensor], path: str) -> None:
    """Keep the cosine similarity (N, S) of the layer's latest input and output."""

    def keep(_: nn.Module, args: tuple[Any, ...], named: Mapping[str, Any], output: Any) -> None:
        given = args[0] if args else named.get("hidden_states")
        made = output[0] if isinstance(output, tuple) else output
        if not isinstance(given, Tensor) or not isinstance(made, Tensor):
            raise StageError(
                f"{type(layer).__name__}'s input and output aren't known; use criterion 'output'."
            )
        seen[path] = nn.functional.cosine_similarity(given, made, dim=-1)

    layer.register_forward_hook(keep, with_kwargs=True)
