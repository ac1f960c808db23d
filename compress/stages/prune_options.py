"""Options of pruning that join training to the cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from compress.distillation.recovery import Recovery

if TYPE_CHECKING:
    from compress.pruning.plan import Plan
    from compress.training.learner import Loss


class Regularization(Recovery):
    """Training before the cut, with a penalty that drives units towards zero."""

    penalty: Literal["group_lasso", "growing"] = "growing"
    """`group_lasso` presses on all units, and the cut is chosen afterwards; `growing` chooses the
    cut first and presses on those units alone, harder and harder."""
    strength: float = Field(default=1e-3, gt=0, le=1e3)
    """Weight of the penalty; of `growing` where it ends."""

    @property
    def needs_plan(self) -> bool:
        """Whether it presses on what a plan has chosen, rather than on everything."""
        return self.penalty == "growing"

    def penalty_on(self, made: Plan, *, samples: int) -> Loss:
        """The penalty.

        Parameters
        ----------
        made : the groups, and of each the units that will go.
        samples : in an epoch.
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
