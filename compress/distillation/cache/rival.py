"""The linear rival as a teacher: its scores of samples that it wasn't trained on, kept on disk."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from compress.core.context import Context
from compress.distillation.cache.arrays import LOGITS, Array, Kept
from compress.distillation.cache.cached import CachedTeacher
from compress.distillation.cache.names import FOLDER, cache_name, used_file
from compress.distillation.cache.open import base_of, digest_of_answers, trim
from compress.distillation.cache.store import Store
from compress.distillation.ensemble.scale import fitted_scale
from compress.errors import StageError
from compress.measurement.baseline.folds import FOLDS, OutOfFold, out_of_fold
from compress.measurement.baseline.inputs import inputs_of
from compress.training.distributed.processes import join

_FORM = 1
"""Raised when the scores are made in another way."""
_SEED = 0
"""Seed of the folds. It is the same in all runs: a rival has next to no randomness of its own."""


def open_rival(context: Context, *, classes: int) -> CachedTeacher:
    """Return a teacher that gives the linear rival's answers to the train split from disk.

    Each sample is answered by a rival that wasn't trained on it: of its own samples a rival is
    surer than of others. The scores are multiplied by `fitted_scale`.

    They lie in the run's shared folder, beside the reference's answers. If there are several
    processes, the first trains while the others wait.

    Parameters
    ----------
    context : its data are scored; its reference's caches are kept.
    classes : number of classes, C.

    Raises
    ------
    DataError : the samples can't be read, or too few have a label.
    StageError : no linear model is trained for the task, or scikit-learn can't train.
    """
    size = context.data.size("train")
    root = (context.shared or context.directory) / FOLDER
    how = {"rival": _FORM, "folds": FOLDS, "classes": classes, "seed": _SEED}
    key = digest_of_answers(how | {name: version(name) for name in ("scikit-learn", "numpy")})
    base = base_of(context, context.reference.require_preprocessor())
    directory = root / cache_name(base, key)

    def prepare() -> tuple[str, ...]:
        trim(root, current=directory)
        store = Store(directory, size=size)
        used_file(directory).touch()
        if store.done.all():
            return ("the linear rival's answers to the train split were taken from disk",)
        inputs = inputs_of(context.data, context.task)
        if inputs is None:
            raise StageError(f"no linear rival is trained for {context.task.name}.")
        found = out_of_fold(inputs, classes=classes, seed=_SEED, progress=context.progress)
        labels = inputs.labels("train")[found.known]
        scale = fitted_scale(found.scores[found.known], labels)
        store.begin([Array(LOGITS, (classes,), "float32", per_token=False)])
        ids = np.arange(size, dtype=np.int64)
        rows = (scale * found.scores).astype(np.float32)
        store.append(ids, np.zeros(size, np.int64), {LOGITS: rows})
        store.commit()
        return (_described(found, labels, scale=scale), *found.notes)

    notes = join(context.device).once(prepare)
    store = Store(directory, size=size, verify=False)
    return CachedTeacher(store, kept=Kept(logits=True), notes=notes, as_they_are=True)


def _described(found: OutOfFold, labels: np.ndarray, *, scale: float) -> str:
    scores = found.scores[found.known]
    if labels.ndim == 2:
        right = float(((scores > 0) == (labels > 0)).all(1).mean())
    else:
        right = float((scores.argmax(1) == labels).mean())
    return (
        f"the linear rival ({found.name}) as teacher: each of {len(scores):,} samples answered "
        f"without having been trained on, {right:.1%} of them right; scores times {scale:.2f}"
    )
