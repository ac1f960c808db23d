"""Quantization-aware training (QAT), with the reference as teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.errors import StageError
from compress.quantization.evaluation import Candidate
from compress.quantization.qat.module import aware, write_back

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.distillation.recovery import Recovery
    from compress.stages.quantize.candidates import CandidateBuilder, CandidateSpec


def train_aware(recovery: Recovery, builder: CandidateBuilder, spec: CandidateSpec) -> Candidate:
    """Return the spec's model after training. The training computes what the file computes.

    Parameters
    ----------
    recovery : losses and training.
    spec : a static spec in QDQ form.

    Raises
    ------
    StageError : the graph has an operator that can't be trained, the reference is an ONNX file, or
        see `Recovery.recover`.
    """
    if builder.context.reference.format.is_onnx:
        raise StageError("'recovery' needs a PyTorch teacher, and the reference is an ONNX file.")
    artifact: Artifact = builder.artifact
    context: Context = builder.context
    before = builder.candidate(spec)
    module = aware(before.path, source=spec.variant.path, integers=spec.integers)
    fitted = recovery.recover(
        module,
        artifact=artifact,
        context=context,
        description="training with 8-bit rounding",
    )
    path = builder.beside(spec, "trained")
    write_back(fitted.module, before.path, path=path)
    return Candidate(f"{spec.name}, trained", path, (*before.notes, *fitted.notes))
