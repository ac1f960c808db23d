"""Starts an n-gram classifier as a linear support vector machine on its own n-grams.

Frequent n-grams count less (TF-IDF; Salton and Buckley, 1988), which plain gradient descent doesn't
find: their rows get most of its steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix

from compress.core.batch import ATTENTION_MASK, IGNORED, LABELS
from compress.core.foreign.boundary import foreign
from compress.distillation.ensemble.scale import fitted_scale
from compress.errors import StageError
from compress.measurement.baseline.clock import Clock
from compress.measurement.baseline.linear import Linear, support_vectors
from compress.models.ngrams.module import NgramClassifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.artifact import Preprocessor
    from compress.core.context import Context, Split

_BATCH = 256
_SECONDS = 3600.0
"""Time of one core in which the training ends. It is so long that the time hardly ever decides."""


class Started(NamedTuple):
    """A classifier with the weights of a linear SVM, and notes."""

    module: NgramClassifier
    notes: tuple[str, ...]


def linear_start(module: NgramClassifier, preprocessor: Preprocessor, context: Context) -> Started:
    """Return a classifier whose rows are the scores of linear SVMs.

    An n-gram's count is weighted by log((1 + N) / (1 + n)) + 1, with n of N texts that have it, and
    each text's weighted counts are divided by their norm. The weights are multiplied into the rows
    afterwards, and the norm by its mean ratio to the root of the number of n-grams, by which the
    module divides: the likeliest class stays the same, but for the bias. Scores are multiplied by
    the factor that makes the validation split's labels the likeliest.

    If the module keeps fewer rows than it has, those are kept whose scores move texts the most: the
    norm of an SVM's weights of a row, times the row's weight, times the root of n. Another SVM is
    then trained on these rows alone.

    Parameters
    ----------
    module : left as it was.
    preprocessor : makes the inputs.

    Raises
    ------
    StageError : rows aren't scores, no sample has a label, or scikit-learn can't train.
    """
    if module.sizes.layers:
        raise StageError("a linear start is for a student whose rows are the classes' scores.")
    plain = NgramClassifier(replace(module.sizes, kept=None))
    counts, labels = _counted(plain, preprocessor, context, "train")
    if not len(_known(labels)):
        raise StageError("a linear start needs labels. No sample of train has one.")
    texts = np.bincount(counts.indices, minlength=counts.shape[1])
    weights = np.log((1 + counts.shape[0]) / (1 + texts)) + 1
    weights[texts == 0] = 0
    classes = np.arange(module.sizes.classes)
    wanted = labels > 0 if labels.ndim == 2 else labels[:, None] == classes
    chosen, notes = np.flatnonzero(texts), tuple[str, ...]()
    if module.sizes.kept is not None:
        first, _ = _machines(counts, weights, chosen, labels, wanted, context)
        chosen, notes = _most(first, weights, texts, chosen, most=module.sizes.kept)
    found, ratio = _machines(counts, weights, chosen, labels, wanted, context)
    rows = (ratio * weights[chosen])[:, None] * found.weights
    checked, right = _counted(plain, preprocessor, context, "validation")
    scores = _divided(checked[:, chosen]) @ rows + found.bias
    given = _known(right)
    scale = fitted_scale(scores[given], right[given]) if len(given) else 1.0
    note = (
        f"start: a linear SVM on {found.rows:,} samples and {len(chosen):,} rows, "
        f"scores times {scale:.2f}"
    )
    made = _filled(module, chosen, scale * rows, scale * found.bias)
    return Started(made, (*notes, note))


def _machines(
    counts: csr_matrix,
    weights: NDArray[Any],
    chosen: NDArray[np.int64],
    labels: NDArray[Any],
    wanted: NDArray[np.bool_],
    context: Context,
) -> tuple[Linear, float]:
    """SVMs on the chosen rows, and the ratio by which `_normed` shortened texts."""
    order = np.random.default_rng(context.seed).permutation(_known(labels))
    features, ratio = _normed(counts[order][:, chosen], weights[chosen])
    with (
        foreign("scikit-learn", error=StageError),
        context.progress.track("linear start", wanted.shape[1]) as advance,
    ):
        return support_vectors(features, wanted[order], Clock(_SECONDS), advance), ratio


def _most(
    found: Linear,
    weights: NDArray[Any],
    texts: NDArray[np.int64],
    chosen: NDArray[np.int64],
    *,
    most: int,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The rows that matter most, in their order, and a note."""
    matter = np.sqrt((found.weights**2).sum(1) * texts[chosen]) * weights[chosen]
    kept = np.sort(chosen[np.argsort(-matter, kind="stable")[:most]])
    note = f"kept {len(kept):,} of {len(chosen):,} rows that texts of the train split have"
    return kept, (note,)


def _filled(
    module: NgramClassifier,
    chosen: NDArray[np.int64],
    rows: NDArray[Any],
    bias: NDArray[Any],
) -> NgramClassifier:
    """A classifier with these scores, in rows of their own if it keeps some alone."""
    sizes = module.sizes
    kept = None if sizes.kept is None else len(chosen)
    made = NgramClassifier(replace(sizes, kept=kept)).eval()
    at = torch.from_numpy(chosen) if kept is None else torch.arange(1, kept + 1)
    with torch.no_grad():
        made.rows.weight.zero_()
        made.rows.weight[at] = torch.from_numpy(rows).to(made.rows.weight.dtype)
        made.head.get_parameter("bias").copy_(torch.from_numpy(bias))
    if kept is not None:
        keeps = torch.zeros(sizes.rows, dtype=torch.bool)
        keeps[torch.from_numpy(chosen)] = True
        made.keep(keeps)
    return made


def _known(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Positions of samples with a label."""
    return np.flatnonzero(labels != IGNORED if labels.ndim == 1 else (labels >= 0).all(1))


def _counted(
    module: NgramClassifier, preprocessor: Preprocessor, context: Context, split: Split
) -> tuple[csr_matrix, NDArray[Any]]:
    """How often each text has the n-grams of each row, (N, rows), and the labels."""
    ends, found, labels = [np.zeros(1, np.int64)], [], []
    loader = context.data.loader(split, preprocessor, batch_size=_BATCH)
    with context.progress.track("counting n-grams", len(loader)) as advance:
        for batch in loader:
            rows, weights = module.ngrams(batch["input_ids"], batch[ATTENTION_MASK])
            present = weights > 0
            found.append(rows[present].numpy())
            ends.append(present.sum(1).numpy())
            labels.append(batch[LABELS].numpy())
            advance()
    indices = np.concatenate(found)
    counts = csr_matrix(
        (np.ones(len(indices), np.float32), indices, np.concatenate(ends).cumsum()),
        shape=(sum(map(len, labels)), module.sizes.rows),
    )
    counts.sum_duplicates()
    return counts, np.concatenate(labels)


def _normed(counts: csr_matrix, weights: NDArray[Any]) -> tuple[csr_matrix, float]:
    """Weighted counts of norm 1, and the mean of the root of the number of n-grams per norm."""
    made = counts.copy()
    made.data *= weights[made.indices].astype(np.float32)
    norms = np.sqrt(np.asarray(made.multiply(made).sum(1)).ravel()).clip(min=1e-9)
    made.data /= np.repeat(norms, np.diff(made.indptr))
    return made, float((_roots(counts) / norms).mean())


def _divided(counts: csr_matrix) -> csr_matrix:
    """Counts as the module weighs them: by the root of the number of n-grams."""
    made = counts.copy()
    made.data /= np.repeat(_roots(counts), np.diff(made.indptr))
    return made


def _roots(counts: csr_matrix) -> NDArray[Any]:
    found = np.asarray(counts.sum(1)).ravel()
    roots: NDArray[Any] = np.sqrt(found.clip(min=1))
    return roots
