"""Suggests the key that was meant: for other words, abbreviations, and keys that stand deeper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from compress.recipe.types import field_shape, models_of

_SHORT = {
    "bs": "batch_size",
    "epoch": "epochs",
    "gradient_accumulation_steps": "accumulation_steps",
    "lr": "learning_rate",
    "lr_scheduler": "schedule",
    "lr_scheduler_type": "schedule",
    "max_len": "max_length",
    "max_seq_length": "max_length",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "optim": "optimizer",
    "per_device_train_batch_size": "batch_size",
    "scheduler": "schedule",
    "t": "temperature",
    "temp": "temperature",
    "warmup_ratio": "warmup",
    "wd": "weight_decay",
}
"""Other programs' words and usual abbreviations, in small letters, and our names."""
_DEEPEST = 4
_MOST = 3


def suggestion(key: str, value: object, models: Sequence[type[BaseModel]]) -> str | None:
    """Return a sentence on the key that was meant; None if nothing but its spelling may be wrong.

    Parameters
    ----------
    key, value : an unknown key, and what was written there.
    models : the models that the mapping may be; their keys, and those inside them, are suggested.
        One that has `other_words` says itself what to write in place of a key that it hasn't.
    """
    for model in models:
        words = getattr(model, "other_words", {}).get(key.lower())
        if words is not None:
            fraction = isinstance(value, float) and 0 < value < 1
            gone = value if fraction and isinstance(value, float) else 0.5
            return str(words).format(gone=f"{gone:g}", left=f"{1 - gone:g}")
    name = _SHORT.get(key.lower(), key)
    if name != key and any(name in model.model_fields for model in models):
        return f"Did you mean {name!r}?"
    places = _nearest([path for model in models for path in _paths(model, name, ())])
    if not places:
        return None
    listed = " or ".join(repr(".".join(path)) for path in places)
    return f"Did you mean {listed}?"


def _paths(model: type[BaseModel], name: str, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all keys of that name inside a model's own keys."""
    if len(above) == _DEEPEST:
        return
    for key, field in model.model_fields.items():
        if key == name and above:
            yield (*above, key)
        for inner in models_of(field_shape(field)):
            yield from _paths(inner, name, (*above, key))


def _nearest(paths: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the paths with the fewest keys, a few of them, in their order."""
    fewest = min(map(len, paths), default=0)
    return list(dict.fromkeys(path for path in paths if len(path) == fewest))[:_MOST]
