"""Starts an n-gram classifier as a linear support vector machine on its own n-grams.

Frequent n-grams count less (TF-IDF; Salton and Buckley, 1988), which plain gradient descent doesn't
find: their rows get most of its steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse import csr_matrix

from compress.core.batch import ATTENTION_MASK, IGNORED, LABELS
from compress.core.foreign.boundary import foreign
from compress.distillation.ensemble.scale import fitted_scale
from compress.errors import StageError
from compress.measurement.baseline.clock import Clock
from compress.measurement.baseline.linear import support_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.artifact import Preprocessor
    from compress.core.context import Context, Split
    from compress.models.ngrams.module import NgramClassifier

_BATCH = 256
_SECONDS = 3600.0
"""Time of one core in which the training ends. It is so long that the time hardly ever decides."""


def linear_start(
    module: NgramClassifier, preprocessor: Preprocessor, context: Context
) -> tuple[str, ...]:
    """Give a classifier whose rows are scores the weights of linear SVMs; return notes.

    An n-gram's count is weighted by log((1 + N) / (1 + n)) + 1, with n of N texts that have it, and
    each text's weighted counts are divided by their norm. The weights are multiplied into the rows
    afterwards, and the norm by its mean ratio to the root of the number of n-grams, by which the
    module divides: the likeliest class stays the same, but for the bias. Scores are multiplied by
    the factor that makes the validation split's labels the likeliest.

    Parameters
    ----------
    module : changed in place.
    preprocessor : makes the inputs.

    Raises
    ------
    StageError : rows aren't scores, no sample has a label, or scikit-learn can't train.
    """
    if module.sizes.layers:
        raise StageError("a linear start is for a student whose rows are the classes' scores.")
    counts, labels = _counted(module, preprocessor, context, "train")
    known = np.flatnonzero(labels != IGNORED if labels.ndim == 1 else (labels >= 0).all(1))
    if not len(known):
        raise StageError("a linear start needs labels. No sample of train has one.")
    texts = np.bincount(counts.indices, minlength=counts.shape[1])
    weights = np.log((1 + counts.shape[0]) / (1 + texts)) + 1
    weights[texts == 0] = 0
    order = np.random.default_rng(context.seed).permutation(known)
    features, ratio = _normed(counts[order], weights)
    wanted = labels[order] > 0 if labels.ndim == 2 else labels[order, None] == _classes(module)
    with (
        foreign("scikit-learn", error=StageError),
        context.progress.track("linear start", module.sizes.classes) as advance,
    ):
        found = support_vectors(features, wanted, Clock(_SECONDS), advance)
    rows = (ratio * weights)[:, None] * found.weights
    checked, right = _counted(module, preprocessor, context, "validation")
    scores = _divided(checked) @ rows + found.bias
    given = np.flatnonzero(right != IGNORED if right.ndim == 1 else (right >= 0).all(1))
    scale = fitted_scale(scores[given], right[given]) if len(given) else 1.0
    with torch.no_grad():
        module.rows.weight.copy_(torch.from_numpy(scale * rows))
        module.head.get_parameter("bias").copy_(torch.from_numpy(scale * found.bias))
    return (
        f"start: a linear SVM on {found.rows:,} samples and {int((texts > 0).sum()):,} rows, "
        f"scores times {scale:.2f}",
    )


def _classes(module: NgramClassifier) -> NDArray[np.int64]:
    return np.arange(module.sizes.classes)


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
