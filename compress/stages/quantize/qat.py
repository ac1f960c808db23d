"""Quantization-aware training (QAT), with the reference as teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.quantization.qat.module import aware, write_back
from compress.quantization.trial import Candidate

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.distillation.recovery import Recovery
    from compress.stages.quantize.candidates import Draft, Workshop


def train_aware(recovery: Recovery, workshop: Workshop, draft: Draft) -> Candidate:
    """Return the draft's model after training. The training computes what the file computes.

    Parameters
    ----------
    recovery : losses and training.
    draft : a static draft in QDQ form.

    Raises
    ------
    StageError : the graph has an operator that can't be trained, or see `Recovery.recover`.
    """
    artifact: Artifact = workshop.artifact
    context: Context = workshop.context
    before = workshop.candidate(draft)
    module = aware(before.path, source=draft.form.path, integers=draft.integers)
    fitted = recovery.recover(
        module,
        artifact=artifact,
        context=context,
        description="training with 8-bit rounding",
    )
    path = workshop.beside(draft, "trained")
    write_back(fitted.module, before.path, path=path)
    return Candidate(f"{draft.name}, trained", path, (*before.notes, *fitted.notes))
