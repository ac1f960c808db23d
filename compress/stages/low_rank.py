"""Factorizes layers into pairs of smaller ones, and recovers by distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from compress.core.artifact import Format
from compress.distillation.recovery import Recovery
from compress.errors import StageError
from compress.factorization.options import LowRankOptions
from compress.stages.calibration import calibration_batches
from compress.stages.contract import Stage

if TYPE_CHECKING:
    from torch import nn

    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.data.spec import DataSpec
    from compress.factorization.factorize import Factorized
    from compress.models.spec import ModelSpec


class LowRank(LowRankOptions, Stage):
    """Factorize layers: each becomes two smaller layers with a low rank between them."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH}
    trains: ClassVar[bool] = True

    recovery: Recovery | None = Recovery()
    """Training afterwards, with the reference as teacher; null for none."""

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        if self.recovery is None:
            return []
        return self.recovery.problems(task=task, data=data, key="recovery")

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the artifact with low-rank layers.

        Raises
        ------
        TargetError : the target can't be met; the message gives the least that can.
        StageError : a pattern fits no layer, nothing can be split, or the recovery failed.
        """
        made = self._factorize(artifact, context)
        smaller = _result(artifact, made.module, made.ranks, notes=made.notes)
        if self.recovery is None:
            return smaller
        fitted = self.recovery.recover(
            made.module, artifact=smaller, context=context, description="recover"
        )
        return smaller.with_module(fitted.module, notes=made.notes + fitted.notes)

    def dry_run(self, artifact: Artifact, context: Context) -> Artifact | None:
        """Return the factorized structure where it needs no measurement; see `Stage.dry_run`."""
        from compress.factorization.factorize import planned

        module, given = artifact.require_module(), self._given(artifact, context)
        made = planned(module, options=self, **given)
        return None if made is None else _result(artifact, *made, notes=())

    def _factorize(self, artifact: Artifact, context: Context) -> Factorized:
        from dataclasses import replace

        from compress.factorization.factorize import factorize

        batches, words = calibration_batches(self.calibration, artifact, context)
        made = factorize(
            artifact.require_module(),
            options=self,
            **self._given(artifact, context),
            batches=batches,
            device=context.device,
            progress=context.progress,
        )
        if self.method == "svd":
            note = "split by the singular values of the weights; no data was read."
        else:
            note = f"split by activations on {words}."
        return replace(made, notes=(note, *made.notes))

    def _given(self, artifact: Artifact, context: Context) -> dict[str, Any]:
        from functools import partial

        from compress.pruning.cost.model import count_cost
        from compress.training.batches import first_inputs

        inputs = first_inputs(context.data, artifact.require_preprocessor(), samples=1)
        count = partial(count_cost, task=context.task, inputs=inputs)
        return {"inputs": inputs, "task": context.task, "count": count}

    def summarize(self) -> str:
        """Such as "keep 0.5 of params, by activation; recovery: none"."""
        recovery = self.recovery.training.summarize() if self.recovery else "none"
        if self.target is not None:
            what = f"keep {self.target.fraction:g} of {self.target.quantity}"
        elif self.energy is not None:
            what = f"keep {self.energy:g} of each layer's energy"
        else:
            what = f"remove {self.ratio:g} of each layer"
        return f"{what}, by {self.method}; recovery: {recovery}"


def _result(
    artifact: Artifact, module: nn.Module, ranks: Mapping[str, int], *, notes: tuple[str, ...]
) -> Artifact:
    from compress.models.source import LowRankSource

    if artifact.source is None:
        raise StageError("a low-rank model needs a source, to be built again. There is none.")
    return artifact.with_module(
        module, source=LowRankSource(artifact.source, dict(ranks)), notes=notes
    )
