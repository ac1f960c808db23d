"""Weight-only quantization: weights have 4 or 8 bits and a scale for every block of them.

Activations stay in float. A language model that generates one token at a time is limited by the
time to read its weights from memory, so that smaller weights are faster. Rounding in small blocks
keeps a model accurate in 4 bits, unlike rounding in whole channels. ONNX Runtime computes with such
weights in MatMulNBits and GatherBlockQuantized. Its own tool leaves Gemm (every layer of a GPT-2)
in float, stores a tied embedding twice, quantizes embeddings to 4 bits only, and rounds over each
block's whole range. Therefore the graph is rewritten here.
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
    source : the float model. If it has such weights already, only float weights are quantized, so
        that two calls can give two parts of a model different bits.
    path : the file to write; graph inputs, outputs, nodes' names and metadata are kept.
    exclude : patterns (`*`, `?`) of the names of nodes or weights that stay in float.

    Returns
    -------
    Notes that tell what was quantized, what wasn't, and how far weights were moved.

    Raises
    ------
    StageError : a pattern matches nothing, or there is nothing to quantize.
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
