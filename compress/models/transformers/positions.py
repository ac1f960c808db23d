"""Finds the longest text and the size of images that a model can take. No torch at import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

_KEYS = ("max_position_embeddings", "n_positions")
_AFTER_PADDING = frozenset(
    {
        *("camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer"),
        *("luke", "markuplm", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"),
        *("xlm-roberta-xl", "xmod"),
    }
)
"""Models that number positions from the padding token's id plus 1."""
_PADDING = 1
"""The padding token's id if the config doesn't name it; for MPNet always."""
_UNBOUNDED = frozenset(
    {
        *("bloom", "byt5", "funnel", "longt5", "mamba", "mamba2", "mpt", "mt5", "rwkv"),
        *("switch_transformers", "t5", "umt5", "xlnet"),
    }
)
"""Models without absolute positions, even if their config names a number of them."""
_EMBEDDINGS = ("position_embeddings", "wpe", "embed_positions", "positions_embed")
_FIXED_IMAGES = frozenset(
    {
        *("clip", "deit", "ijepa", "metaclip_2", "siglip"),
        *("vit", "vit_mae", "vit_msn"),
    }
)
"""Image models that take only images of the config's size."""


def longest_text(config: Mapping[str, Any]) -> int | None:
    """Number of tokens that a model has positions for; None if unlimited or unknown.

    For rotary positions it is the length that the model is meant for.

    Parameters
    ----------
    config : a transformers model's config as plain values; it needn't be complete.
    """
    inner = config.get("text_config")
    if isinstance(inner, Mapping):
        return longest_text(inner)
    kind = str(config.get("model_type"))
    if kind in _UNBOUNDED or config.get("alibi") is True:
        return None
    if kind in ("deberta", "deberta-v2") and config.get("position_biased_input") is False:
        return None  # positions are relative
    rows = next((count for key in _KEYS if (count := _count(config.get(key)))), None)
    if rows is None or kind not in _AFTER_PADDING:
        return rows
    padding = config.get("pad_token_id", _PADDING)
    named = isinstance(padding, int) and not isinstance(padding, bool) and kind != "mpnet"
    return max(1, rows - 1 - (padding if named else _PADDING))


def longest_text_of(module: nn.Module) -> int | None:
    """`longest_text` of a loaded module, by its config and the rows of its learned positions."""
    config = getattr(module, "config", None)
    values = {} if config is None or not hasattr(config, "to_dict") else config.to_dict()
    found = [*_learned_positions(module), longest_text(values)]
    return min((count for count in found if count is not None), default=None)


def positions_allowed(positions: int) -> str:
    """Words for the allowed `max_length` of a model that can read so many tokens."""
    return f"at most {positions}, the longest text that the model has positions for"


def image_size(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width if a model takes images of that size only; None if not, or if unknown."""
    if str(config.get("model_type")) not in _FIXED_IMAGES:
        return None
    inner = config.get("vision_config")
    size = (inner if isinstance(inner, Mapping) else config).get("image_size")
    sides = list(size) if isinstance(size, list | tuple) else [size, size]
    height, width = map(_count, sides) if len(sides) == 2 else (None, None)
    return None if height is None or width is None else (height, width)


def _learned_positions(module: nn.Module) -> Iterator[int]:
    from torch import nn

    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding) and name.rpartition(".")[2] in _EMBEDDINGS:
            padding = part.padding_idx
            unused = getattr(part, "offset", 0) if padding is None else padding + 1
            yield part.num_embeddings - int(unused)


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value > 0 else None
