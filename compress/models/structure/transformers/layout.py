"""The description of a transformers family: one `Layout` has all that cutting it needs.

No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Axis = Literal[
    "hidden", "merged", "pooled", "heads", "key_values", "fused", "head_count", "neurons", "gated"
]
"""The axis along which a dimension of a parameter runs.

hidden : the units that every layer reads and writes. If stages differ in width, these are the units
    of every layer of a stage.
merged : the hidden units of four neighbouring patches, one patch after another.
pooled : the units of a pooler, or of a head's first layer; as many as hidden ones. In models
    without a pooler, the layers that would read them read hidden units.
heads : the units of all heads of queries, and of the attention's output before its last layer.
key_values : the units of all heads of keys and values, which are fewer in some decoders.
fused : the units of queries, keys and values, one after another, if one layer makes all three.
head_count : the heads themselves.
neurons : the neurons of a feed-forward.
gated : the neurons and then their gates, if one layer makes both.
"""
Axes = tuple[Axis | None, ...]

OUTSIDE: dict[str, Axes] = {
    r"(^|\.)(pooler\.dense|classifier\.dense|pre_classifier)": ("pooled", "hidden"),
    r"(^|\.)(\w*classifier|classifier\.out_proj|score)": (None, "pooled"),
    r"(^|\.)(lm_head(\.decoder)?|qa_outputs)": (None, "hidden"),
    r"(^|\.)((cls\.predictions\.transform|lm_head)\.dense|vocab_transform)": ("hidden", "hidden"),
    r"(^|\.)(cls\.predictions(\.decoder)?|vocab_projector)|^decoder": (None, "hidden"),
    r"(^|\.)sequence_summary\.summary": ("pooled", "hidden"),
    r"((word|position|token_type)_embeddings|embed_tokens)": (None, "hidden"),
    r"(^|[._])((?i:layer_?norm(_before|_after)?|norm))": ("hidden",),
}
"""Axes of modules whose names many families share; see `Layout.outside`."""
TOKENS: dict[str, Axes] = {
    r"embeddings\.(cls_token|mask_token|distillation_token|position_embeddings)": (
        None,
        None,
        "hidden",
    ),
}
"""Axes of parameters without a module of their own, by the end of their name."""


@dataclass(frozen=True)
class SizeKeys:
    """The keys of a family's config for the sizes of its layers, all of which are alike.

    Attributes
    ----------
    hidden, neurons, heads : keys of the numbers of hidden units, neurons and heads of queries.
    key_values : key of the number of heads of keys and values; None: as many as of queries.
    head_size : key of the width of a head; None: the hidden units divided by the heads.
    neurons_by_hidden : number of neurons for each hidden unit if the value of `neurons` is null;
        None: it never is.
    again : keys that repeat the number of hidden units, if they have the same value.
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
    """The paths of a family's parts inside one layer.

    Attributes
    ----------
    attention : the module that splits into heads.
    query, key, value, output : the attention's linear layers. If the first three are the same, one
        layer makes them all, in this order.
    up, down : the feed-forward's linear layers.
    gate : the linear layer beside `up` that gates it; None: there is none. If it is `up` itself,
        that layer makes all neurons, and then what gates them.
    cross : a decoder's attention to an encoder, whose parts have the names of those in `attention`;
        None: the family's decoders have none.
    also : further linear layers that a model may have, whose rows are those of the heads.
    heads : attribute of `attention` with the number of heads; None: it has none.
    head_size : attribute of `attention` with the width of one head.
    all_heads : attribute of `attention` with the width of all heads; None: it has none.
    bias : a parameter (places, heads) that is added to this layer's scores; None: none.
    shared_bias : an embedding (buckets, heads) that is added to every layer's scores; None: there
        is none. With one, all layers must keep the same heads.
    transposed : whether linear layers hold their weights as (in, out).
    outside : axes of modules other than those linear layers, by a regular expression for the end of
        their path. Weights are (out, in); biases have the first axis. They come before `OUTSIDE`.
    sizes : the config's keys of the sizes; None: the layers aren't all alike.
    refuses : reasons why kinds of units can't be cut, by kind.
    otherwise : the layout of the family's models that don't have this one; None: there are none.
    """

    attention: str
    query: str
    key: str
    value: str
    output: str
    up: str
    down: str
    gate: str | None = None
    cross: str | None = None
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
        """Paths of the linear layers that every layer has, each once."""
        gate = () if self.gate is None else (self.gate,)
        paths = (self.query, self.key, self.value, self.output, self.up, *gate, self.down)
        return tuple(dict.fromkeys(paths))

    @property
    def across(self) -> Layout | None:
        """The same layer, but with its attention to an encoder; None if there is none."""
        if self.cross is None:
            return None
        query, key, value, output = (
            f"{self.cross}{path.removeprefix(self.attention)}"
            for path in (self.query, self.key, self.value, self.output)
        )
        return replace(self, attention=self.cross, query=query, key=key, value=value, output=output)

    @property
    def fused(self) -> bool:
        """True if one layer makes queries, keys and values."""
        return self.query == self.key == self.value

    @property
    def packed(self) -> bool:
        """True if one layer makes the neurons and their gates."""
        return self.gate == self.up

    @property
    def forms(self) -> tuple[Layout, ...]:
        """This layout, and the other layouts of the family."""
        return (self,) if self.otherwise is None else (self, *self.otherwise.forms)
