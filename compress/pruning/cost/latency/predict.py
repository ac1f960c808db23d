"""Foretells a module's latency from a table of its operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from compress.pruning.cost.latency.layers import TimedLayer, changing_layers
from compress.pruning.cost.latency.table import LatencyTable, Shares
from compress.pruning.cost.model import CostModel

_WORTH = 0.25
"""A width is offered that saves this part of what its units save on average."""


class LatencyModel:
    """The latency that remains when so many units of each group are cut, without cutting them.

    The sum over the layers that change, and the rest, which stays.

    Attributes
    ----------
    table : the measured operators.
    unknown : names of weights that can be cut, but for whose layer there is no operator.

    Parameters
    ----------
    model : counted on inputs of `batch_size` samples.
    most : of each group, the most units that may be cut.
    shares : times operators.
    """

    def __init__(
        self, model: CostModel, *, most: Sequence[int], batch_size: int, shares: Shares
    ) -> None:
        self._model = model
        layers, self.unknown = changing_layers(model, batch_size=batch_size)
        # A layer called twice, or one of many that are alike, is looked up once.
        self._layers: Counter[TimedLayer] = Counter(layers)
        ranges = [(layer.operator, layer.after(model, most).sizes) for layer in self._layers]
        self.table = LatencyTable(ranges, shares=shares)
        self._rest = 1.0 - self._sum([0] * len(model.groups))

    def predict(self, counts: Sequence[int]) -> float:
        """The fraction of the latency that remains after cutting `counts[g]` units of group g."""
        return self._rest + self._sum(counts)

    def worthwhile(self, choices: Sequence[Sequence[int]]) -> list[list[int]]:
        """Of the numbers of cuts that each group may have, those that save time.

        Kernels work on 8 or 16 channels at once: where 24 take as long as 32, 24 is left out.
        """
        return [self._worthwhile(number, each) for number, each in enumerate(choices)]

    def _sum(self, counts: Sequence[int]) -> float:
        return sum(
            calls * self.table.share(layer.after(self._model, counts))
            for layer, calls in self._layers.items()
        )

    def _worthwhile(self, number: int, choices: Sequence[int]) -> list[int]:
        alone = [0] * len(self._model.groups)
        times = []
        for count in choices:
            alone[number] = count
            times.append(self._sum(alone))
        kept = [choices[0]]
        if len(choices) == 1:
            return kept
        average = (times[0] - times[-1]) / (choices[-1] - choices[0])
        last = times[0]
        for count, time in zip(choices[1:], times[1:], strict=True):
            if last - time >= _WORTH * average * (count - kept[-1]) > 0:
                kept.append(count)
                last = time
        return kept if len(kept) > 1 else list(choices)
