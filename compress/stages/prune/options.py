"""Options of the `prune` stage: the cut, and the training around it. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from compress.core.bounds import MOST_SAMPLES_AT_ONCE
from compress.core.options import Options
from compress.distillation.recovery import Recovery
from compress.errors import expected
from compress.pruning.options import CutOptions
from compress.pruning.schedule import Schedule

if TYPE_CHECKING:
    from compress.pruning.plan import Plan
    from compress.training.learner import Loss


class Regularization(Recovery):
    """Training before the cut, with a penalty that drives units towards zero."""

    penalty: Literal["group_lasso", "growing"] = "growing"
    """`group_lasso` penalises all units, and the cut is chosen afterwards. `growing` chooses the
    cut first and penalises those units alone, with a weight that grows."""
    strength: float = Field(default=1e-3, gt=0, le=1e3)
    """Weight of the penalty; for `growing`, its weight at the end."""

    @property
    def needs_plan(self) -> bool:
        """True if the penalty is on the units that a plan removes, rather than on all units."""
        return self.penalty == "growing"

    def penalty_on(self, made: Plan, *, samples: int) -> Loss:
        """Return the penalty.

        Parameters
        ----------
        made : the groups, each with the units to remove.
        samples : number of samples in an epoch.
        """
        from compress.pruning.regularization import GroupLasso, GrowingPenalty

        if self.penalty == "group_lasso":
            return GroupLasso(made.groups, strength=self.strength)
        return GrowingPenalty(
            made.groups,
            made.units,
            strength=self.strength,
            samples=samples * self.training.epochs,
        )


class LatencyOptions(Options):
    """How the latency of a target is measured."""

    batch_size: int = Field(default=1, ge=1, le=MOST_SAMPLES_AT_ONCE)
    """Number of samples in a call."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Threads of ONNX Runtime within an operator. The process is pinned to as many CPUs."""


class PruneOptions(CutOptions):
    """Options of the cut, and of the training before, between and after its steps."""

    latency: LatencyOptions = LatencyOptions()
    """How latency is measured if it is the target."""
    regularization: Regularization | None = None
    """Training before the cut, with a penalty that drives units towards zero; null for none."""
    schedule: Schedule | None = None
    """Cut in several steps, with training between them; null for one step."""
    recovery: Recovery | None = Recovery()
    """Training after the cut, with the reference as teacher; null for none. Without it the model
    loses most of its accuracy, unless a later stage trains."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.schedule is not None and self.recovery is None:
            raise ValueError(expected("recovery", "given with 'schedule'", None))
        grows = self.regularization is not None and self.regularization.needs_plan
        if self.schedule is not None and grows:
            raise ValueError(
                expected("schedule", "null with the penalty 'growing'", self.schedule.steps)
            )
        return self

    def cut_options(self) -> dict[str, Any]:
        """Return the fields of `CutOptions`."""
        return {name: getattr(self, name) for name in CutOptions.model_fields}

    def recovery_between(self) -> Recovery:
        """Return the options of the training after every step but the last."""
        recovery, schedule = self.recovery or Recovery(), self.schedule or Schedule()
        return recovery.model_copy(update={"training": schedule.training})
