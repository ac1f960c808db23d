"""Bias correction: the mean error of quantization is subtracted from each layer's bias.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
arXiv:1906.04721 (section 4.2, the empirical variant of appendix D); Finkelstein et al., "Fighting
Quantization Bias With Bias", 2019, arXiv:1906.03193.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.core.progress import Progress, Silent
from compress.errors import StageError
from compress.onnx_graph.files import load_model
from compress.onnx_graph.graph import Graph
from compress.quantization.bias_correction.layers import biased_layers
from compress.quantization.bias_correction.means import Floats, channel_means
from compress.quantization.write import write

if TYPE_CHECKING:
    from compress.core.context import Batch


def correct_biases(
    source: Path,
    quantized: Path,
    *,
    path: Path,
    batches: Iterable[Batch],
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write the float model with biases that compensate for the errors of its quantization.

    Layers are corrected one by one, from the input on. The correction of an output channel is its
    mean in the quantized model, with all earlier biases corrected, minus its mean in the float
    model. Quantize the written file as `quantized` was made, with the ranges of `source`, because
    the written file's own activations are shifted by what quantization will shift back.

    Parameters
    ----------
    source : the float model.
    quantized : the QDQ file that was made from `source`, with the same node names.
    path : the file to write.
    batches : calibration samples, iterated once for the float model, and once for each layer up to
        that layer. Padding of texts isn't counted. Memory doesn't grow with the number of batches.

    Returns
    -------
    Notes that tell how many biases were corrected, by how much, and which layers have none.

    Raises
    ------
    StageError : no layer of `source` is quantized in `quantized`, there are no batches, or a mean
        isn't finite.
    """
    wanted, given = Graph(load_model(source)), Graph(load_model(quantized))
    layers, without = biased_layers(wanted, given)
    if not layers:
        raise StageError(
            f"no biases to correct: {quantized.name} has no quantized layer of {source.name} that "
            "has or could have one."
        )
    axes = [layer.axis for layer in layers]
    outputs = [layer.node.output[0] for layer in layers]
    means = channel_means(wanted, outputs, axes=axes, path=source, batches=batches)
    shifts: list[float] = []
    with (progress or Silent()).track("correcting biases", len(layers)) as advance:
        for layer, mean in zip(layers, means, strict=True):
            output = layer.quantized.output[0]
            (got,) = channel_means(
                given, [output], axes=[layer.axis], path=quantized, batches=batches
            )
            layer.shift((got - mean).astype(np.float32), wanted, given)
            shifts.append(_relative(got - mean, mean))
            advance()
    wanted.remove_unused()
    write(wanted.model, path=path, source=source)
    return _notes(shifts, without)


def _relative(error: Floats, mean: Floats) -> float:
    """Root mean square of the errors, relative to that of the means."""
    return float(np.sqrt(np.square(error).mean() / max(np.square(mean).mean(), 1e-30)))


def _notes(shifts: Sequence[float], without: Sequence[str]) -> tuple[str, ...]:
    notes = [
        f"bias correction: {len(shifts)} layers, each shifted by {np.median(shifts):.1%} of its "
        f"mean outputs (median; at most {max(shifts):.1%})"
    ]
    if without:
        notes.append(
            f"bias correction: {len(without)} matmuls have no bias to correct (such as "
            f"{without[0]})"
        )
    return tuple(notes)
