"""Measures how a model's answers change when each group is cut."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from compress.core.batch import model_inputs
from compress.core.context import Batch, Loader, Target, Task
from compress.core.progress import Progress, Silent
from compress.errors import DataError, StageError
from compress.measurement.metrics.registry import metric_named
from compress.measurement.metrics.tally import Answer, Tally
from compress.models.structure.groups import Group
from compress.models.structure.masking import without
from compress.pruning.importance.unchanged import evaluating
from compress.pruning.sensitivity.divergence import MEASURES, distances
from compress.pruning.sensitivity.losses import GroupSensitivity, Sensitivity
from compress.tasks.outputs import joined
from compress.training.acceleration import placed_batch
from compress.training.batches import sample_count


@dataclass(frozen=True)
class ValidationSamples:
    """The samples and the metric with which sensitivity is measured.

    Attributes
    ----------
    task : runs the modules.
    loader : inputs, and labels if the metric reads them; it is read once.
    metric : name of the metric, such as "accuracy". If it compares a model with the reference, this
        is the whole model.
    labels : class names, for metrics that read them.
    """

    task: Task
    loader: Loader
    metric: str
    labels: Sequence[str] = ()


def measure_sensitivity(
    module: nn.Module,
    groups: Sequence[Group],
    scores: Sequence[Tensor],
    *,
    samples: ValidationSamples,
    ratios: Sequence[float],
    progress: Progress | None = None,
) -> Sensitivity:
    """Measure the module's answers without the least important units of one group at a time.

    Every sample is answered once by the whole module, and once for each group and ratio. One
    batch's answers and a copy of one group's weights are held at a time.

    Parameters
    ----------
    module : the module, on the device to run on; it is left as it was, to the bit.
    scores : (U,) scores of each group; higher is more important.
    ratios : fractions of a group's units, rounded to whole units. At least one unit goes, and one
        stays. A group of a single unit isn't tried.

    Raises
    ------
    InputError : the metric is unknown, or doesn't fit the class names.
    DataError : there is no sample to measure the metric on.
    StageError : the module's own answers aren't finite numbers.
    """
    task = samples.task
    metric = metric_named(samples.metric, task=task, labels=samples.labels)
    trials = [
        [_Trial(group, units, metric.tally(samples.labels)) for units in _cuts(score, ratios)]
        for group, score in zip(groups, scores, strict=True)
    ]
    whole, seen = metric.tally(samples.labels), 0
    steps = len(samples.loader) * (1 + sum(map(len, trials)))
    track = (progress or Silent()).track("measure sensitivity", steps)
    with evaluating(module) as device, torch.no_grad(), track as advance:
        for batch in samples.loader:
            inputs = placed_batch(model_inputs(batch), device=device, channels_last=False)
            outputs = task.named_outputs(module, inputs)
            wanted = joined(list(outputs.values()))
            if not bool(wanted.isfinite().all()):
                raise StageError(f"{type(module).__name__}'s own answers aren't all numbers.")
            reference = _answer(outputs, batch)
            whole.add(replace(reference, reference=reference))
            seen += sample_count(batch)
            advance()
            for trial in (trial for each in trials for trial in each):
                with without(module, trial.group, trial.units):
                    changed = task.named_outputs(module, inputs)
                trial.tally.add(replace(_answer(changed, batch), reference=reference))
                trial.diverge(
                    wanted, joined(list(changed.values())), batch=inputs, target=task.target
                )
                advance()
    if not whole.samples:
        raise DataError(f"there are no samples to measure {metric.name} on.")
    return Sensitivity(
        metric.name,
        metric.higher_is_better,
        whole.score(seed=0).value,
        MEASURES[task.target],
        seen,
        tuple(_measured(group, each) for group, each in zip(groups, trials, strict=True)),
    )


class _Trial:
    """Pruned units of one group, and the metric and divergence of the answers without them."""

    def __init__(self, group: Group, units: Tensor, tally: Tally) -> None:
        self.group, self.units, self.tally = group, units, tally
        self._sum = self._weight = 0.0

    def diverge(self, wanted: Tensor, answer: Tensor, *, batch: Batch, target: Target) -> None:
        """Add a batch's divergence."""
        found, weight = distances(wanted, answer, batch=batch, target=target)
        self._sum += found
        self._weight += weight

    @property
    def divergence(self) -> float:
        """Mean divergence of all batches, at least 0; infinite if an answer isn't a number."""
        mean = self._sum / self._weight
        return max(mean, 0.0) if math.isfinite(mean) else math.inf

    @property
    def quality(self) -> float | None:
        """The metric, or None if it isn't defined: answers are all alike, or aren't numbers."""
        if not math.isfinite(self.divergence):
            return None
        try:
            value = self.tally.score(seed=0).value
        except (DataError, StageError):
            return None
        return value if math.isfinite(value) else None


def _cuts(score: Tensor, ratios: Sequence[float]) -> list[Tensor]:
    """The pruned units for each different number of them, ascending."""
    order, most = score.argsort(stable=True), len(score) - 1
    counts = {min(max(1, round(ratio * len(score))), most) for ratio in ratios}
    return [order[:count] for count in sorted(counts) if count > 0]


def _answer(outputs: Mapping[str, Tensor], batch: Batch) -> Answer:
    arrays = {name: np.asarray(value) for name, value in batch.items()}
    found = {name: value.float().cpu().numpy() for name, value in outputs.items()}
    return Answer(next(iter(found.values())), arrays, outputs=found)


def _measured(group: Group, trials: Sequence[_Trial]) -> GroupSensitivity:
    return GroupSensitivity(
        group.name,
        group.kind,
        group.units,
        tuple(len(trial.units) for trial in trials),
        tuple(trial.quality for trial in trials),
        tuple(trial.divergence for trial in trials),
    )
