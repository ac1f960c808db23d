"""Bias correction: what quantization adds to a layer's outputs on average is taken out again.

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
    """Write the float model with biases that make up for its quantization.

    Layer by layer, from the input on: the mean of each output channel in the quantized model, with
    the biases of the layers before it corrected already, less the mean in the float model. Quantize
    the file that is written as `quantized` was made: from the ranges of `source`, as its own
    activations are shifted by what quantization will shift back.

    Parameters
    ----------
    source : the float model.
    quantized : made from it, in QDQ form, with the nodes' names kept.
    path : the file to write.
    batches : calibration samples, gone through once for the float model, and once for each layer
        up to that layer. What a text's padding gives isn't counted. Memory doesn't grow with them.

    Returns
    -------
    Notes: how many biases were corrected, by how much, and which layers have none.

    Raises
    ------
    StageError : no layer of `source` is quantized in `quantized`, there are no batches, or means
        that aren't finite.
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
    """Root mean square of the errors, as a part of that of the means."""
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
