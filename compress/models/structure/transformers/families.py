"""Where the parts of transformers' families are, and what can't be cut from them.

These repeat one layer, so a description of it is enough, and nothing needs to be traced. No torch
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_SCORES = "its attention divides scores by the root of the heads' width as it finds it"
_ROTARY = "rotary position embeddings turn the places of a head in pairs"


@dataclass(frozen=True)
class Layout:
    """Paths inside one layer.

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


_BERT = Layout(
    attention="attention.self",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    output="attention.output.dense",
    up="intermediate.dense",
    down="output.dense",
    all_heads="all_head_size",
)
_DEBERTA = replace(
    _BERT,
    query="attention.self.query_proj",
    key="attention.self.key_proj",
    value="attention.self.value_proj",
    also=("attention.self.pos_key_proj", "attention.self.pos_query_proj"),
    refuses={"head_width": _SCORES},
)
_DISTILBERT = Layout(
    attention="attention",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    output="attention.out_lin",
    up="ffn.lin1",
    down="ffn.lin2",
    heads="n_heads",
)
_MPNET = Layout(
    attention="attention.attn",
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    output="attention.attn.o",
    up="intermediate.dense",
    down="output.dense",
    all_heads="all_head_size",
    shared_bias="relative_attention_bias",
    refuses={"head_width": _SCORES},
)
_VIT = Layout(
    attention="attention",
    query="attention.q_proj",
    key="attention.k_proj",
    value="attention.v_proj",
    output="attention.o_proj",
    up="mlp.fc1",
    down="mlp.fc2",
    head_size="head_dim",
)
_SWIN = replace(_VIT, bias="attention.relative_position_bias.relative_position_bias_table")
_T5 = Layout(
    attention="layer.0.SelfAttention",
    query="layer.0.SelfAttention.q",
    key="layer.0.SelfAttention.k",
    value="layer.0.SelfAttention.v",
    output="layer.0.SelfAttention.o",
    up="layer.1.DenseReluDense.wi",
    down="layer.1.DenseReluDense.wo",
    heads="n_heads",
    head_size="key_value_proj_dim",
    all_heads="inner_dim",
    shared_bias="relative_attention_bias",
)
_GATED_T5 = replace(_T5, up="layer.1.DenseReluDense.wi_1", gate="layer.1.DenseReluDense.wi_0")
_GPT2 = Layout(
    attention="attn",
    query="attn.c_attn",
    key="attn.c_attn",
    value="attn.c_attn",
    output="attn.c_proj",
    up="mlp.c_fc",
    down="mlp.c_proj",
    heads="num_heads",
    head_size="head_dim",
    all_heads="split_size",
    transposed=True,
)
_LLAMA = Layout(
    attention="self_attn",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    output="self_attn.o_proj",
    up="mlp.up_proj",
    gate="mlp.gate_proj",
    down="mlp.down_proj",
    heads=None,
    head_size="head_dim",
    refuses={"head_width": _ROTARY},
)

FAMILIES: dict[str, Layout] = {
    "bert": _BERT,
    "camembert": _BERT,
    "deit": _VIT,
    "distilbert": _DISTILBERT,
    "electra": _BERT,
    "mpnet": _MPNET,
    "roberta": _BERT,
    "vit": _VIT,
    "xlm-roberta": _BERT,
}
"""Layouts of encoders by the config's `model_type`, as of transformers 5."""
DECODERS: dict[str, Layout] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
}
"""Those of decoders; queries may have more heads than keys and values."""
LAYOUTS: dict[str, Layout] = {
    **FAMILIES,
    **DECODERS,
    "deberta-v2": _DEBERTA,
    "gpt2": _GPT2,
    "swin": _SWIN,
    "t5": replace(_T5, otherwise=_GATED_T5),
}
"""Those of every family that can be pruned: also of such whose layers differ in width, whose linear
layers are fused, or which have two forms."""


def family(module: nn.Module) -> str | None:
    """The `model_type` of a module that `LAYOUTS` describes; None for any other."""
    kind = getattr(getattr(module, "config", None), "model_type", None)
    return kind if kind in LAYOUTS else None


def laid_out_layers(module: nn.Module, layout: Layout) -> list[str]:
    """Paths of the layers that are laid out so, in their order."""
    return [path for path, part in module.named_modules() if _is_layer(part, layout)]


def _is_layer(part: nn.Module, layout: Layout) -> bool:
    for path in layout.linears:
        found: nn.Module | None = part
        for name in path.split("."):
            found = None if found is None else dict(found.named_children()).get(name)
        weight = getattr(found, "weight", None)
        if weight is None or weight.dim() != 2:
            return False
    return True
