"""Removes whole layers, and recovers by distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from compress.core.artifact import Format
from compress.core.bounds import MOST_LAYERS
from compress.data.calibration import Calibration
from compress.distillation.recovery import Recovery
from compress.errors import StageError
from compress.models.folder.header import known_config, layer_count
from compress.pruning.depth.options import DepthCriterion, remaining_layers
from compress.stages.calibration import calibration_batches
from compress.stages.contract import Stage

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.data.spec import DataSpec
    from compress.models.spec import ModelSpec
    from compress.pruning.depth.remove import Shallower


class Depth(Stage):
    """Make the model shallower: remove the layers whose removal changes its answers least."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH}
    trains: ClassVar[bool] = True

    layers: int | None = Field(default=None, ge=1, le=MOST_LAYERS)
    """How many layers remain; or give `ratio`."""
    ratio: float | None = Field(default=None, gt=0, lt=1)
    """The fraction of the layers that is removed, to the nearest whole layer; or give `layers`."""
    criterion: DepthCriterion = "output"
    """`output` removes layer after layer, each time the one without which the answers change least;
    `block_influence` those that change their input least, in one pass over the data."""
    calibration: Calibration = Calibration()
    """Data on which it is measured what a layer does."""
    recovery: Recovery | None = Recovery()
    """Training afterwards, with the reference as teacher; null for none."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Depth:
        given = [name for name in ("layers", "ratio") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of layers, ratio must be given. Got {' and '.join(given) or 'none'}."
            )
        return self

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        found = self._beside(known_config(model))
        if self.recovery is not None:
            found += self.recovery.problems(task=task, data=data, key="recovery")
        return found

    def _beside(self, config: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return problems with the number of layers, as far as the model's config tells."""
        total = layer_count(config)
        try:
            if total is not None:
                remaining_layers(layers=self.layers, ratio=self.ratio, total=total)
        except StageError as error:
            return [("ratio" if self.layers is None else "layers", str(error))]
        return []

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the artifact with fewer layers.

        Raises
        ------
        StageError : the layers can't be chosen, there are too few of them, or the recovery failed.
        """
        made = self._remove(artifact, context, remain=self._remain(artifact))
        smaller = artifact.with_module(made.module, source=made.source, notes=made.notes)
        if self.recovery is None:
            return smaller
        fitted = self.recovery.recover(
            made.module, artifact=smaller, context=context, description="recover"
        )
        return smaller.with_module(fitted.module, notes=made.notes + fitted.notes)

    def dry_run(self, artifact: Artifact, context: Context) -> Artifact:
        """Return a model of the first layers, as the choice isn't known; see `Stage.dry_run`."""
        from compress.models.structure.shorter import keep_layers

        kept = range(self._remain(artifact))
        shorter = keep_layers(artifact.require_module(), artifact.source, kept=kept)
        return artifact.with_module(shorter.module, source=shorter.source)

    def _remain(self, artifact: Artifact) -> int:
        from compress.models.structure.shorter import count_layers

        total = count_layers(artifact.require_module(), artifact.source)
        return remaining_layers(layers=self.layers, ratio=self.ratio, total=total)

    def _remove(self, artifact: Artifact, context: Context, *, remain: int) -> Shallower:
        from compress.pruning.depth.remove import remove_layers

        if artifact.preprocessor is None:
            raise StageError("layers are measured on data: a preprocessor is needed.")
        batches, words = calibration_batches(self.calibration, artifact, context)
        made = remove_layers(
            artifact.require_module(),
            artifact.source,
            remain=remain,
            criterion=self.criterion,
            task=context.task,
            batches=batches,
            device=context.device,
            progress=context.progress,
        )
        note = f"layers chosen by {self.criterion} on {words}."
        return replace(made, notes=(note, *made.notes))

    def summarize(self) -> str:
        """Such as "keep 3 layers, by output; recovery: 3 epochs, adamw 0.0001, fp32"."""
        recovery = self.recovery.training.summarize() if self.recovery else "none"
        if self.layers is not None:
            what = f"keep {self.layers} layer{'s' if self.layers > 1 else ''}"
        else:
            what = f"remove {self.ratio:g} of the layers"
        return f"{what}, by {self.criterion}; recovery: {recovery}"
