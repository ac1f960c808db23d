"""Where the parts of transformers' families are: what each dimension of their tensors runs along.

These repeat one layer, so a description of it is enough, and nothing needs to be traced. No torch
here: a file's header is enough to count what a narrower model would have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

Axis = Literal["hidden", "pooled", "heads", "key_values", "head_count", "neurons"]
"""What a dimension runs along.

hidden : the units that every layer reads and writes.
pooled : the units of a pooler, or of a head's first layer; as many as hidden ones.
heads : the units of all heads of queries, and of the attention's output before its last layer.
key_values : those of all heads of keys and values, which are fewer in some decoders.
head_count : the heads themselves.
neurons : of a feed-forward.
"""
Axes = tuple[Axis | None, ...]


@dataclass(frozen=True)
class Layout:
    """Paths inside one layer.

    Attributes
    ----------
    attention : the module that splits into heads.
    query, key, value, output : the attention's linear layers.
    up, down : the feed-forward's linear layers.
    gate : the linear layer beside `up` that gates it; None: there is none.
    heads : attribute of `attention` with the number of heads.
    head_size : attribute of `attention` with the width of one head.
    all_heads : attribute of `attention` with the width of all heads; None: it has none.
    shared_bias : an embedding (buckets, heads) that adds to every layer's scores; None: there is
        none. Where there is one, all layers must keep the same heads.
    """

    attention: str
    query: str
    key: str
    value: str
    output: str
    up: str
    down: str
    gate: str | None = None
    heads: str = "num_attention_heads"
    head_size: str = "attention_head_size"
    all_heads: str | None = None
    shared_bias: str | None = None

    @property
    def linears(self) -> tuple[str, ...]:
        """All paths of linear layers."""
        gate = () if self.gate is None else (self.gate,)
        return (self.query, self.key, self.value, self.output, self.up, *gate, self.down)


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
_LLAMA = Layout(
    attention="self_attn",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    output="self_attn.o_proj",
    up="mlp.up_proj",
    gate="mlp.gate_proj",
    down="mlp.down_proj",
    head_size="head_dim",
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


def family(module: nn.Module) -> str | None:
    """The `model_type` of a module that `FAMILIES` describes; None for any other."""
    kind = getattr(getattr(module, "config", None), "model_type", None)
    return kind if kind in FAMILIES else None


def laid_out_layers(module: nn.Module, layout: Layout) -> list[str]:
    """Paths of the layers that are laid out so, in their order."""
    return [path for path, part in module.named_modules() if _is_layer(part, layout)]


def _is_layer(part: nn.Module, layout: Layout) -> bool:
    from torch import nn

    for path in layout.linears:
        found: nn.Module | None = part
        for name in path.split("."):
            found = None if found is None else dict(found.named_children()).get(name)
        if not isinstance(found, nn.Linear):
            return False
    return True


_NORM = re.compile(r"(^|[._])(layer_?norm(_before|_after)?|norm)$", re.IGNORECASE)
_EMBEDDING = re.compile(r"((word|position|token_type)_embeddings|embed_tokens)$")
_TOKEN = re.compile(r"embeddings\.(cls_token|mask_token|distillation_token|position_embeddings)$")
_POOLER = re.compile(r"(^|\.)(pooler\.dense|classifier\.dense|pre_classifier)$")
_READER = re.compile(r"(^|\.)(\w*classifier|classifier\.out_proj|score|lm_head)$")


class Described:
    """The axes of every parameter of a model.

    Parameters
    ----------
    names : of all its parameters.
    config : of the model, as its JSON.
    """

    def __init__(self, names: Iterable[str], *, config: Mapping[str, Any]) -> None:
        self._layout = (FAMILIES | DECODERS)[str(config.get("model_type"))]
        names = list(names)
        pooled = any(_POOLER.search(name.rpartition(".")[0]) for name in names)
        self._read: Axis = "pooled" if pooled else "hidden"
        embedding = config.get("embedding_size")
        self._own_embedding = embedding is not None and embedding != config.get("hidden_size")
        self.axes = {name: self._axes(name) for name in names}

    def _axes(self, name: str) -> Axes | None:
        path, _, leaf = name.rpartition(".")
        if self._own_embedding and ".embeddings." in f".{path}.":
            return (None, None) if leaf == "weight" and _EMBEDDING.search(path) else (None,)
        if _TOKEN.search(name):
            return (None, None, "hidden")
        found = self._linear(path)
        if found is not None:
            return found if leaf == "weight" else found[:1]
        if _EMBEDDING.search(path):
            return (None, "hidden")
        if self._layout.shared_bias and path.endswith(self._layout.shared_bias):
            return (None, "head_count")
        if path.endswith(("q_norm", "k_norm")):
            return (None,)
        return ("hidden",) if _NORM.search(path) else None

    def _linear(self, path: str) -> Axes | None:
        layout = self._layout
        inside: dict[str, Axes] = {
            layout.query: ("heads", "hidden"),
            layout.key: ("key_values", "hidden"),
            layout.value: ("key_values", "hidden"),
            layout.output: ("hidden", "heads"),
            layout.up: ("neurons", "hidden"),
            layout.gate or layout.up: ("neurons", "hidden"),
            layout.down: ("hidden", "neurons"),
        }
        for suffix, axes in inside.items():
            if re.search(rf"\.\d+\.{re.escape(suffix)}$", path):
                return axes
        if path.endswith("patch_embeddings.projection"):
            return ("hidden", None, None, None)
        if path.endswith("embeddings_project"):
            return ("hidden", None)
        if _POOLER.search(path):
            return ("pooled", "hidden")
        if _READER.search(path):
            return (None, "hidden" if path.endswith("lm_head") else self._read)
        return None
