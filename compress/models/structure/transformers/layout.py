"""How a transformers family is described: one `Layout` holds all that its cuts need to know.

No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Axis = Literal[
    "hidden", "merged", "pooled", "heads", "key_values", "fused", "head_count", "neurons"
]
"""What a dimension of a parameter runs along.

hidden : the units that every layer reads and writes; where stages differ in width, every layer of a
    stage.
merged : the hidden units of four neighbouring patches, one patch after another.
pooled : the units of a pooler, or of a head's first layer; as many as hidden ones. What reads them
    reads hidden ones in models that have no pooler.
heads : the units of all heads of queries, and of the attention's output before its last layer.
key_values : those of all heads of keys and values, which are fewer in some decoders.
fused : of one layer that makes all three those of queries, keys and values, one after another.
head_count : the heads themselves.
neurons : of a feed-forward.
"""
Axes = tuple[Axis | None, ...]

OUTSIDE: dict[str, Axes] = {
    r"(^|\.)(pooler\.dense|classifier\.dense|pre_classifier)": ("pooled", "hidden"),
    r"(^|\.)(\w*classifier|classifier\.out_proj|score)": (None, "pooled"),
    r"(^|\.)lm_head": (None, "hidden"),
    r"((word|position|token_type)_embeddings|embed_tokens)": (None, "hidden"),
    r"(^|[._])((?i:layer_?norm(_before|_after)?|norm))": ("hidden",),
}
"""Modules that many families name so; see `Layout.outside`."""
TOKENS: dict[str, Axes] = {
    r"embeddings\.(cls_token|mask_token|distillation_token|position_embeddings)": (
        None,
        None,
        "hidden",
    ),
}
"""Parameters that belong to no module of their own, by the end of their name."""


@dataclass(frozen=True)
class SizeKeys:
    """What a family's config calls the sizes of its layers, all of which are alike.

    Attributes
    ----------
    hidden, neurons, heads : keys.
    key_values : of the heads of keys and values; None: as many as of queries.
    head_size : of the width of a head; None: as many units as the heads divide the hidden ones
        into.
    neurons_by_hidden : how many times as many neurons as hidden units there are where `neurons` is
        null; None: it never is.
    again : keys that name the hidden units again, where they are as many.
    """

    hidden: str = "hidden_size"
    neurons: str = "intermediate_size"
    heads: str = "num_attention_heads"
    key_values: str | None = None
    head_size: str | None = None
    neurons_by_hidden: int | None = None
    again: tuple[str, ...] = ("embedding_size", "pooler_output_size", "pooler_hidden_size")


@dataclass(frozen=True)
class Layout:
    """Where the parts of a family are; paths are those inside one layer.

    Attributes
    ----------
    attention : the module that splits into heads.
    query, key, value, output : the attention's linear layers. Where the first three are the same,
        one layer makes them all, in this order.
    up, down : the feed-forward's linear layers.
    gate : the linear layer beside `up` that gates it; None: there is none.
    also : further linear layers whose rows are those of the heads, where a model has them.
    heads : attribute of `attention` with the number of heads; None: it has none.
    head_size : attribute of `attention` with the width of one head.
    all_heads : attribute of `attention` with the width of all heads; None: it has none.
    bias : a parameter (places, heads) that adds to this layer's scores; None: there is none.
    shared_bias : an embedding (buckets, heads) that adds to every layer's scores; None: there is
        none. Where there is one, all layers must keep the same heads.
    transposed : whether linear layers hold their weights as (in, out).
    outside : axes of the modules other than those linear layers, by a regular expression for the
        end of their path; of weights as (out, in), of biases the first. They come before `OUTSIDE`.
    sizes : what the config calls the sizes; None: its layers aren't all alike.
    refuses : what can't be cut, by the unit's name, and why.
    otherwise : how a model of the family is laid out that isn't laid out so.
    """

    attention: str
    query: str
    key: str
    value: str
    output: str
    up: str
    down: str
    gate: str | None = None
    also: tuple[str, ...] = ()
    heads: str | None = "num_attention_heads"
    head_size: str = "attention_head_size"
    all_heads: str | None = None
    bias: str | None = None
    shared_bias: str | None = None
    transposed: bool = False
    outside: Mapping[str, Axes] = field(default_factory=dict, hash=False)
    sizes: SizeKeys | None = SizeKeys()
    refuses: Mapping[str, str] = field(default_factory=dict, hash=False)
    otherwise: Layout | None = None

    @property
    def linears(self) -> tuple[str, ...]:
        """All paths of linear layers that every layer has, each once."""
        gate = () if self.gate is None else (self.gate,)
        paths = (self.query, self.key, self.value, self.output, self.up, *gate, self.down)
        return tuple(dict.fromkeys(paths))

    @property
    def fused(self) -> bool:
        """Whether one layer makes queries, keys and values."""
        return self.query == self.key == self.value

    @property
    def forms(self) -> tuple[Layout, ...]:
        """This one, and what models of the family are otherwise."""
        return (self,) if self.otherwise is None else (self, *self.otherwise.forms)
