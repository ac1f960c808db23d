"""Opens the cache of a teacher's answers, and fills it if it isn't whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from compress.core.artifact import Preprocessor
from compress.core.context import Context
from compress.core.files.owned import is_folder
from compress.distillation.answers import Teacher
from compress.distillation.cache.arrays import Kept
from compress.distillation.cache.cached import CachedTeacher, largest_error
from compress.distillation.cache.filling import fill, some_batches
from compress.distillation.cache.names import FOLDER, cache_name, caches, remove_cache, used_file
from compress.distillation.cache.store import Store
from compress.errors import InputError, StageError
from compress.models.weights.digests import weights_digest
from compress.training.augmentation.augment import Augmenter
from compress.training.distributed.processes import join

MOST = 4
"""Number of caches that are kept in a run's folder: those that were used last."""
TOLERANCE = {"exact": 2e-3, "rounded": 1e-1}
"""Largest difference from the live teacher that counts as rounding, relative to its largest answer:
for fp32, and for bf16, fp16 or low-bit arithmetic, whose rounding depends on the whole batch."""
_COMPARED = 32
_FORMAT = 1


def open_cache(
    live: Teacher,
    *,
    kept: Kept,
    context: Context,
    preprocessor: Preprocessor,
    augmenter: Augmenter,
    batch_size: int,
    arithmetic: Mapping[str, str | int | None],
    as_they_are: bool = False,
) -> CachedTeacher:
    """Return a teacher that gives the reference's answers to the train split from disk.

    The answers lie in the run's shared folder under a digest of everything that affects them: the
    reference's weights, data, preprocessing, seeded augmentation, arithmetic, and the kept parts.
    Answers of another reference or to other data are removed. Of this reference's caches the `MOST`
    that were used last are kept.

    If there are several processes, the first runs the teacher while the others wait.

    Parameters
    ----------
    live : the reference on the context's device. It gives the missing answers, and answers to a few
        samples for a comparison.
    augmenter : the training's augmenter, with the context's seed.
    batch_size : number of samples in a batch of the teacher.
    arithmetic : the teacher's "precision" and "bits" (None for full precision).
    as_they_are : see `CachedTeacher`.

    Raises
    ------
    InputError : a later version of compress wrote the cache.
    StageError : augmentation isn't seeded per sample, the answers can't be kept in this form, the
        disk is too small, or the kept answers differ from the live teacher's.
    """
    _require_cacheable(augmenter)
    variants = augmenter.variants or 1
    size = context.data.size("train") * variants
    base, key = _keys(kept, context, preprocessor, augmenter, arithmetic)
    root = (context.shared or context.directory) / FOLDER
    directory = root / cache_name(base, key)

    def prepare() -> tuple[str, ...]:
        trim(root, current=directory)
        store = Store(directory, size=size)
        before = int(store.done.sum())
        fill(
            store,
            live,
            kept=kept,
            context=context,
            preprocessor=preprocessor,
            augmenter=augmenter,
            batch_size=batch_size,
        )
        used_file(directory).touch()
        cached = CachedTeacher(store, kept=kept)
        batches = some_batches(context, preprocessor, augmenter, samples=min(_COMPARED, batch_size))
        errors = [largest_error(cached(batch), live(batch), batch) for batch in batches]
        described = _describe(store, kept, variants=variants, before=before)
        return (described, _compare(errors, arithmetic))

    notes = join(context.device).once(prepare)
    return CachedTeacher(
        Store(directory, size=size, verify=False), kept=kept, notes=notes, as_they_are=as_they_are
    )


def _require_cacheable(augmenter: Augmenter) -> None:
    if augmenter.variants is None:
        raise StageError(
            "the teacher's answers can't be cached: 'augment' draws every sample anew in each "
            "epoch, so that they would belong to other inputs. Set 'augment.variants' to a number "
            "of seeded changes for each sample, without mixing, or leave 'teacher.cache' out."
        )


def _keys(
    kept: Kept,
    context: Context,
    preprocessor: Preprocessor,
    augmenter: Augmenter,
    arithmetic: Mapping[str, str | int | None],
) -> tuple[str, str]:
    """Return a digest of teacher and data, and one of how the teacher is run and what is kept."""
    how = {
        "kept": asdict(kept) | ({"temperature": None} if kept.top_k is None else {}),
        "augment": augmenter.options.model_dump(mode="json"),
        "seed": context.seed if (augmenter.variants or 1) > 1 or _changes(augmenter) else None,
        "arithmetic": dict(arithmetic),
        "device": context.device,
        "libraries": {name: version(name) for name in ("torch", "transformers")},
    }
    return base_of(context, preprocessor), digest_of_answers(how)


def base_of(context: Context, preprocessor: Preprocessor) -> str:
    """Return the digest of the reference and the data, which all caches of a run share."""
    reference = context.reference
    return digest_of_answers(
        {
            "format": _FORMAT,
            "weights": weights_digest(reference.require_module()),
            "source": reference.source.to_dict() if reference.source else None,
            "task": context.task.name,
            "data": context.data.fingerprint,
            "size": context.data.size("train"),
            "preprocessor": preprocessor.fingerprint,
        }
    )


def _changes(augmenter: Augmenter) -> bool:
    options = augmenter.options
    return bool(options.changes_images or options.changes_texts)


def digest_of_answers(value: Mapping[str, object]) -> str:
    """Return the digest of what decides answers, plain JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def trim(root: Path, *, current: Path) -> None:
    """Make the folder of caches, and keep in it those of this run that were used last."""
    if os.path.lexists(root) and not is_folder(root):
        raise InputError(f"{root} must be a folder; it is a file or a link.")
    root.mkdir(parents=True, exist_ok=True)
    base = current.name.split("-")[0]
    others = [path for path in caches(root) if path != current]
    stale = [path for path in others if path.name.split("-")[0] != base]
    recent = sorted((path for path in others if path not in stale), key=_last_use)
    for path in [*stale, *recent[: max(0, len(recent) - (MOST - 1))]]:
        remove_cache(path)


def _last_use(cache: Path) -> float:
    marker = used_file(cache)
    return marker.stat().st_mtime if marker.is_file() else 0.0


def _compare(
    errors: Sequence[Mapping[str, tuple[float, float]]], arithmetic: Mapping[str, str | int | None]
) -> str:
    """Return a note of the largest difference from the live teacher.

    Raises
    ------
    StageError : the difference is larger than rounding in such arithmetic.
    """
    exact = not arithmetic.get("bits") and arithmetic.get("precision") in (None, "fp32")
    tolerance = TOLERANCE["exact" if exact else "rounded"]
    said = []
    for name in errors[0]:
        difference = max(error[name][0] for error in errors)
        largest = max(error[name][1] for error in errors)
        if not difference <= tolerance * max(largest, 1e-6):
            raise StageError(
                f"the teacher's cached {name!r} differ from the live one's by {difference:.2g} "
                f"(largest {largest:.3g}), more than rounding. Run with --fresh."
            )
        said.append(f"{name} {difference:.2g} (largest {largest:.3g})")
    rest = "" if exact else "; in such arithmetic an answer depends on the rest of its batch"
    return f"cached against live teacher, largest difference: {', '.join(said)}{rest}"


def _describe(store: Store, kept: Kept, *, variants: int, before: int) -> str:
    size = len(store.done)
    what = []
    if kept.logits:
        what.append("logits" if kept.top_k is None else f"top {kept.top_k} logits")
    what += kept.features
    each = f"{size // variants:,} samples" + (f" in {variants} variants" if variants > 1 else "")
    how = "computed" if not before else "taken from disk"
    if 0 < before < size:
        how = f"{before:,} taken from disk, {size - before:,} computed"
    cut = f"; {store.cut:,} bytes there weren't whole" if store.cut else ""
    return (
        f"teacher's answers ({', '.join(what)}; {kept.dtype}) for {each}: "
        f"{store.bytes:,} bytes on disk; {how}{cut}"
    )
