"""Tells a transformers classifier which token its tokenizer pads with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compress.models.loaded import LoadedModel
from compress.models.source import TransformersSource


def told_padding(loaded: LoadedModel, padding: int) -> LoadedModel:
    """Return a model whose config names the padding token, with a note if it named none.

    A decoder's classification head reads the last token that isn't padding, and refuses batches
    as long as its config doesn't say which token that is.

    Parameters
    ----------
    loaded : its module's config is changed.
    padding : id of the padding token.
    """
    config: Any = getattr(loaded.module, "config", None)
    if not isinstance(loaded.source, TransformersSource):
        return loaded
    texts = config.get_text_config()
    if getattr(texts, "pad_token_id", padding) is not None:
        return loaded
    texts.pad_token_id = padding
    return replace(
        loaded,
        source=TransformersSource.of(loaded.module),
        notes=(
            *loaded.notes,
            f"the model's config named no padding token; it is {padding}, the tokenizer's.",
        ),
    )
