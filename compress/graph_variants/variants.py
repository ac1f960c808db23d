"""Makes the variants of one graph among which a quantization can choose by measuring them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from compress.errors import StageError
from compress.graph_variants.attention_operators import attention_operators
from compress.graph_variants.masks import padding_masks
from compress.graph_variants.residual_sums import residual_sums
from compress.graph_variants.unread_rows import unread_rows
from compress.measurement.session import run, session
from compress.onnx_graph.files import check_file, load_graph, load_model, save_model
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import is_standard

if TYPE_CHECKING:
    from torch import Tensor

Rewrite = Callable[[onnx.ModelProto], int]

PLAIN = "plain"
TOLERANCE = 1e-5

WORDS: dict[Rewrite, str] = {
    padding_masks: "attention masks hold one row for all queries: {}",
    unread_rows: "matmuls computed for the one position that is read: {}",
    attention_operators: "attentions as one operator (opset 23, ONNX Runtime 1.23 or later): {}",
    residual_sums: "residual additions kept apart from the normalisation after them: {}",
}
"""The note of a variant on each rewrite, with the number of times that it applied."""

RECIPES: dict[str, tuple[Rewrite, ...]] = {
    "lean": (padding_masks, unread_rows, residual_sums),
    "attention": (unread_rows, attention_operators, residual_sums),
}
"""The rewrites of each variant, in their order; see `MARKS` for when a variant is made."""

MARKS: dict[str, tuple[Rewrite, ...]] = {
    "lean": RECIPES["lean"],
    "attention": (attention_operators,),
}
"""A variant is made only if at least one of these rewrites applies."""


@dataclass(frozen=True)
class GraphVariant:
    """One graph of a model.

    Attributes
    ----------
    name : "plain" (as it was exported), "lean" or "attention".
    path : the file.
    portable : True if it has only ONNX's own operators.
    notes : the rewrites that were applied, one sentence each.
    """

    name: str
    path: Path
    portable: bool
    notes: tuple[str, ...]


def plain(source: Path) -> GraphVariant:
    """The variant that is the source itself."""
    return GraphVariant(PLAIN, source, _portable(load_graph(source)), ())


def graph_variants(
    source: Path, folder: Path, *, sample: Mapping[str, Tensor | np.ndarray] | None = None
) -> list[GraphVariant]:
    """The model itself, and other graphs of the same function that ONNX Runtime may run faster.

    Parameters and errors are those of `graph_variant`, which makes each of the others.

    Returns
    -------
    The source first, then each variant that differs from it.
    """
    others = (graph_variant(name, source, folder, sample=sample) for name in RECIPES)
    return [plain(source), *(each for each in others if each is not None)]


def graph_variant(
    name: str,
    source: Path,
    folder: Path,
    *,
    sample: Mapping[str, Tensor | np.ndarray] | None = None,
) -> GraphVariant | None:
    """The variant of a model that has this name; None if it doesn't differ from the model.

    Names of inputs, outputs, weights and weighted nodes, dynamic axes and metadata stay.

    Parameters
    ----------
    name : a name of `RECIPES`.
    source : a float ONNX file.
    folder : the folder of the variant, `<folder>/<stem of source>-<name>.onnx`; it is created if
        it doesn't exist.
    sample : a batch of inputs, for which the variant must give the answers of the source, to 1e-5
        of the largest answer. If None, the variant is checked and loaded, but not run.

    Raises
    ------
    StageError : the rewritten graph isn't valid ONNX, can't be loaded, or gives other answers.
    """
    model = load_model(source)
    counts = {rewrite: rewrite(model) for rewrite in RECIPES[name]}
    if not any(counts[mark] for mark in MARKS[name]):
        return None
    notes = tuple(WORDS[each].format(count) for each, count in counts.items() if count)
    path = _write(model, folder / f"{source.stem}-{name}.onnx")
    rewritten = session(path, threads=1)
    if sample is not None:
        answers = run(session(source, threads=1), sample)
        _require_same(answers, run(rewritten, sample), name=name)
    return GraphVariant(name, path, _portable(Graph(model)), notes)


def _portable(graph: Graph) -> bool:
    return all(is_standard(node) for node in graph.nodes)


def _write(model: onnx.ModelProto, path: Path) -> Path:
    save_model(model, path)
    check_file(path, types=False)
    return path


def _require_same(
    answers: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray], *, name: str
) -> None:
    for output, wanted in answers.items():
        scale = float(np.abs(wanted).max(initial=0)) or 1.0
        same = given[output].shape == wanted.shape
        error = float(np.abs(given[output] - wanted).max(initial=0)) / scale if same else np.inf
        if not error <= TOLERANCE:
            raise StageError(
                f"the rewritten graph {name!r} answers {output!r} otherwise than the exported "
                f"one: expected a difference of at most {TOLERANCE:g} of the largest answer, "
                f"got {error:.2g}."
            )
