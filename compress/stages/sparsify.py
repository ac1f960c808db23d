"""Sets weights to zero, and recovers by distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from compress.core.artifact import Format
from compress.distillation.recovery import Recovery
from compress.pruning.sparsity.options import Pattern, SparsityOptions
from compress.stages.contract import Stage

if TYPE_CHECKING:
    from torch import nn

    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.data.spec import DataSpec
    from compress.models.spec import ModelSpec


class Sparsify(SparsityOptions, Stage):
    """Set the smallest weights to zero; the model's shape stays."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH}
    trains: ClassVar[bool] = True

    recovery: Recovery | None = Recovery()
    """Training afterwards that keeps the zeros, with the reference as teacher; null for none."""

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        if self.recovery is None:
            return []
        return self.recovery.problems(task=task, data=data, key="recovery")

    def warnings(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[str]:
        """See `Stage.warnings`."""
        return ["zeros make the file smaller only once it is compressed, and nothing faster."]

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the artifact with zeros in its weights.

        Raises
        ------
        StageError : no layer can be sparse, a pattern fits no layer, or the recovery failed.
        """
        from compress.pruning.sparsity.masks import (
            find_weights,
            masked,
            masks_by_pattern,
            masks_by_ratio,
            settled,
        )

        module = artifact.require_module()
        pattern = None if self.pattern is None else Pattern.of(self.pattern)
        found = find_weights(module, pattern=pattern, exclude=self.exclude)
        if pattern is not None:
            masks = masks_by_pattern(module, found.paths, pattern)
        else:
            ratio = self.ratio or 0.0
            masks = masks_by_ratio(module, found.paths, ratio=ratio, scope=self.scope)
        made = masked(module, masks)
        notes: tuple[str, ...] = ()
        if self.recovery is not None:
            fitted = self.recovery.recover(
                made,
                artifact=artifact.with_module(made),
                context=context,
                description="recover",
            )
            made, notes = fitted.module, fitted.notes
        sparse = settled(made, module)
        about = _describe(module, sparse, found.paths)
        return artifact.with_module(sparse, notes=(*about, *found.notes, *notes))

    def dry_run(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the artifact unchanged, as its structure stays; see `Stage.dry_run`."""
        from compress.pruning.sparsity.masks import find_weights

        pattern = None if self.pattern is None else Pattern.of(self.pattern)
        find_weights(artifact.require_module(), pattern=pattern, exclude=self.exclude)
        return artifact

    def summarize(self) -> str:
        """Such as "2:4 zeros; recovery: none"."""
        recovery = self.recovery.training.summarize() if self.recovery else "none"
        where = "in each layer" if self.scope == "layer" else "over all layers"
        what = f"{self.pattern} zeros" if self.pattern else f"{self.ratio:g} zeros {where}"
        return f"{what}; recovery: {recovery}"


def _describe(before: nn.Module, after: nn.Module, paths: list[str]) -> tuple[str, ...]:
    from compress.pruning.sparsity.masks import compressed_bytes, zeros

    count, total = zeros(after, paths)
    everything = sum(parameter.numel() for parameter in after.parameters())
    dense, sparse = compressed_bytes(before), compressed_bytes(after)
    return (
        f"{count:,} of {total:,} weights of {len(paths)} layers are zero ({count / total:.2%}); "
        f"the model has {everything:,} parameters.",
        f"compressed (zlib), its weights take {sparse:,} bytes instead of {dense:,} "
        f"({sparse / dense:.1%}). Uncompressed files stay as large, and runtimes without sparse "
        "kernels, ONNX Runtime among them, gain no speed.",
        "a later stage that trains fills the zeros again.",
    )
