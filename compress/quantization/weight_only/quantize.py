"""Weights in 4 or 8 bits with a scale for every few of them; activations stay in float.

A language model that writes one token at a time waits for its weights to come from memory, so fewer
bytes are less time; and rounding in small blocks keeps answers near in 4 bits, which whole channels
don't. ONNX Runtime computes with such weights in MatMulNBits and GatherBlockQuantized. Its own
tool for this leaves Gemm (every layer of a GPT-2) in float, stores a tied embedding twice, embeds
in 4 bits only, and rounds over each block's whole range; so the graph is rewritten here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from compress.errors import StageError
from compress.onnx_graph.files import load_model
from compress.quantization.selection import kept_in_float
from compress.quantization.weight_only.graph import Rewriting, WeightOnly
from compress.quantization.write import write


def quantize_weights(
    source: Path,
    *,
    path: Path,
    options: WeightOnly | None = None,
    exclude: Sequence[str] = (),
) -> tuple[str, ...]:
    """Write a model whose matmuls and embeddings have weights in few bits.

    Parameters
    ----------
    source : the float model. Of one that has such weights already, those in float are taken: two
        calls give two parts of a model different bits.
    path : the file to write; graph inputs, outputs, nodes' names and metadata are kept.
    exclude : patterns (`*`, `?`) of nodes' names or of their weights' names that stay in float.

    Returns
    -------
    Notes: what was quantized, what wasn't, and how far weights were moved.

    Raises
    ------
    StageError : a pattern that fits nothing, or nothing to quantize.
    """
    options = options or WeightOnly()
    model = load_model(source)
    rewriting = Rewriting(model, options)
    wanted = list(rewriting.candidates())
    excluded = kept_in_float([(n.name, str(rewriting.weight_of(n))) for n in wanted], exclude)
    chosen = [node for node in wanted if node.name not in excluded]
    if not chosen:
        raise StageError(
            "nothing to quantize: no MatMul, Gemm or Gather with a constant float weight of two "
            "dimensions is left in the graph."
        )
    counts = Counter(node.op_type for node in chosen)
    rewriting.rewrite({node.output[0] for node in chosen})
    write(model, path=path, source=source)
    notes = [
        "quantized: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()),
        f"weights moved by {rewriting.error():.2%} of their root mean square",
    ]
    if rewriting.left:
        notes.append(f"left in float: {', '.join(rewriting.left)}")
    if excluded:
        notes.append(f"kept in float by 'exclude': {', '.join(sorted(excluded))}")
    return tuple(notes)
