"""Applies the `prune` stage: importance, penalties, the steps of the cut, and training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch import nn

from compress.core.artifact import Artifact
from compress.core.context import Context, Loader
from compress.errors import StageError
from compress.models.structure.find import find_groups
from compress.pruning.allocation.ratios import most
from compress.pruning.cost.model import count_cost
from compress.pruning.options import (
    READ_DATA,
    CutOptions,
    Quantity,
    SensitivityOptions,
    Target,
)
from compress.pruning.plan import Evidence, Plan, plan
from compress.pruning.prune import cut_out
from compress.pruning.schedule import step_fraction, step_ratios
from compress.pruning.sensitivity.trials import ValidationSamples
from compress.stages.calibration import calibration_batches
from compress.stages.prune.meter import OnnxMeter
from compress.stages.prune.options import PruneOptions
from compress.training.batch_norm import has_statistics, reestimate
from compress.training.batches import first_inputs
from compress.training.distributed.processes import join

if TYPE_CHECKING:
    from compress.distillation.recovery import Recovery

PROOF_SAMPLES = 8
"""Number of samples on which a pruned model is compared with the masked one."""


class GradualCut:
    """One application of a `prune` stage to one artifact.

    Parameters
    ----------
    stage : the stage's options.
    artifact : the model to prune; it is left as it was.
    context : the run's context.
    """

    def __init__(self, stage: PruneOptions, artifact: Artifact, context: Context) -> None:
        self._stage, self._artifact, self._context = stage, artifact, context
        self._whole = artifact.require_module()
        self._inputs = first_inputs(context.data, artifact.preprocessor, samples=PROOF_SAMPLES)
        self._single = {name: value[:1] for name, value in self._inputs.items()}
        self._meter: OnnxMeter | None = None
        self._notes: list[str] = []
        # Number of units of each group: at first, and now.
        self._units: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()

    def run(self) -> Artifact:
        """Return the artifact with its pruned, recovered module.

        Raises
        ------
        TargetError : the target can't be met.
        StageError : the module's structure is unknown, or a training failed.
        """
        target = self._stage.target
        with ExitStack() as stack:
            if target is not None and target.quantity in ("size", "latency"):
                self._require_one_process(target.quantity)
                meter = OnnxMeter(self._artifact, self._context, options=self._stage.latency)
                self._meter = stack.enter_context(meter)
            module = self._cut()
        if self._stage.recovery is not None:
            module = self._recovered(module, self._stage.recovery)
        return self._artifact.with_module(module, notes=tuple(self._notes))

    def _cut(self) -> nn.Module:
        """Make all steps, with training between them."""
        stage, module, before = self._stage, self._whole, 0.0
        if stage.regularization is not None and not stage.regularization.needs_plan:
            found = find_groups(
                module, task=self._context.task, inputs=self._single, units=stage.units
            )
            module = self._regularized(module, Plan.of_nothing(found.groups))
        progress = list(stage.schedule.progress()) if stage.schedule else [1.0]
        for number, after in enumerate(progress, start=1):
            label = f"step {number} of {len(progress)}: " if stage.schedule else ""
            options = self._options(module, before=before, after=after)
            if options is None:
                self._notes.append(f"{label}nothing is cut: no more than its target remains.")
                continue
            module = self._step(module, options, label=label)
            if number < len(progress):
                module = self._recovered(module, stage.recovery_between(), label=label)
            before = after
        return module

    def _step(self, module: nn.Module, options: CutOptions, *, label: str) -> nn.Module:
        """Cut once, then compute the statistics of batch normalisation again."""
        task, regularization = self._context.task, self._stage.regularization
        made = plan(
            module, options, task=task, inputs=self._inputs, evidence=self._evidence(options)
        )
        if made.sensitivity is not None:
            made.sensitivity.write(self._context.directory)
        if regularization is not None and regularization.needs_plan:
            module = self._regularized(module, made)
        pruned = cut_out(module, made, example_inputs=self._inputs, task=task)
        self._notes += [label + note for note in pruned.notes]
        # Groups share a name if parts of one layer's channels belong to different groups.
        before, gone = Counter[str](), Counter[str]()
        for group, units in zip(made.groups, made.units, strict=True):
            before[group.name] += group.units
            gone[group.name] += len(units)
        self._units = self._units or before
        self._kept = before - gone
        if not has_statistics(pruned.module):
            return pruned.module
        batches = self._context.data.loader(
            "calibration",
            self._artifact.require_preprocessor(),
            batch_size=self._stage.calibration.batch_size,
        )
        renewed, seen = reestimate(pruned.module, batches, task=task)
        self._notes.append(f"{label}batch norm's statistics were re-estimated on {seen} samples.")
        return renewed

    def _options(self, module: nn.Module, *, before: float, after: float) -> CutOptions | None:
        """Return the options of one step, for the module that the step is given.

        None if no more than the step's target remains, which an earlier, coarse step can bring.

        Parameters
        ----------
        before, after : fractions of the whole cut that are done before and after this step.
        """
        stage = self._stage
        given: dict[str, Any] = stage.cut_options()
        if before > 0:
            given["sensitivity"] = stage.sensitivity if stage.ratios == "auto" else None
            given["max_ratio"] = {
                name: 1 - (1 - most(stage.max_ratio, name)) * self._units[name] / kept
                for name, kept in self._kept.items()
                if most(stage.max_ratio, name) < 1
            }
        if isinstance(stage.ratios, Mapping):
            given["ratios"] = step_ratios(stage.ratios, before=before, after=after)
        if stage.target is not None:
            quantity = stage.target.quantity
            fraction = step_fraction(
                stage.target.fraction,
                progress=after,
                remaining=self._remaining(module, quantity) if before > 0 else 1.0,
            )
            if fraction >= 1:
                return None
            given["target"] = Target.model_validate({quantity: fraction})
        return CutOptions.model_validate(given)

    def _remaining(self, module: nn.Module, quantity: Quantity) -> float:
        """Return the fraction of the original model that remains."""
        if self._meter is not None:
            if quantity == "latency":
                return self._meter.latency_ratio(module, self._whole)
            return self._meter.size_bytes(module) / self._meter.size_bytes(self._whole)
        now, first = (
            count_cost(each, task=self._context.task, inputs=self._single).of(quantity)
            for each in (module, self._whole)
        )
        return now / first

    def _regularized(self, module: nn.Module, made: Plan) -> nn.Module:
        """Return the module trained with the penalty on a plan's groups."""
        regularization = self._stage.regularization
        if regularization is None:
            return module
        fitted = regularization.recover(
            module,
            artifact=self._artifact.with_module(module),
            context=self._context,
            description="regularize",
            penalty=regularization.penalty_on(made, samples=self._context.data.size("train")),
        )
        self._notes += [f"before the cut: {note}" for note in fitted.notes]
        return fitted.module

    def _recovered(self, module: nn.Module, recovery: Recovery, *, label: str = "") -> nn.Module:
        fitted = recovery.recover(
            module,
            artifact=self._artifact.with_module(module),
            context=self._context,
            description=f"{label}recover",
        )
        self._notes += [label + note for note in fitted.notes]
        return fitted.module

    def _evidence(self, options: CutOptions) -> Evidence:
        calibration: Loader = ()
        if options.importance in READ_DATA:
            calibration, words = calibration_batches(
                options.calibration, self._artifact, self._context
            )
            self._notes.append(f"importance by {options.importance} on {words}.")
        return Evidence(
            calibration=calibration,
            validation=self._samples(options.measures_sensitivity),
            meter=self._meter,
            seed=self._context.seed,
            progress=self._context.progress,
        )

    def _samples(self, options: SensitivityOptions | None) -> ValidationSamples | None:
        """Return validation samples drawn at random, with the task's metric."""
        if options is None:
            return None
        data, task = self._context.data, self._context.task
        loader = data.loader(
            "validation",
            self._artifact.require_preprocessor(),
            batch_size=options.batch_size,
            shuffle_seed=self._context.seed,
        )
        return ValidationSamples(
            task,
            list(islice(loader, -(-options.samples // options.batch_size))),
            task.default_metric(labelled=data.labelled),
            self._artifact.labels,
        )

    def _require_one_process(self, quantity: Quantity) -> None:
        count = join(self._context.device).count
        if count > 1:
            raise StageError(
                f"'target.{quantity}' is measured, and several processes would choose differently. "
                f"Got {count} processes: prune with one."
            )
