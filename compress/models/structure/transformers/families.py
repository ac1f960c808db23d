"""The described transformers families.

A family repeats one layer, so a description of this layer is enough, and nothing needs to be
traced. No torch here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from compress.models.structure.transformers.layout import Axes, Layout, SizeKeys

if TYPE_CHECKING:
    from torch import nn

_SCORES = "its attention scales scores by the root of the width that heads have after the cut"
_ROTARY = "rotary position embeddings rotate the places of a head in pairs"
_BOTH = "its encoder's layers share their width with a decoder, whose own width isn't described"
_PATCHES: dict[str, Axes] = {r"patch_embeddings\.projection": ("hidden", None, None, None)}


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
_ELECTRA = replace(_BERT, outside={r"(^|\.)embeddings_project": ("hidden", None)})
_DEBERTA = replace(
    _BERT,
    query="attention.self.query_proj",
    key="attention.self.key_proj",
    value="attention.self.value_proj",
    also=("attention.self.pos_key_proj", "attention.self.pos_query_proj"),
    outside={
        r"embeddings\.embed_proj": ("hidden", None),
        r"rel_embeddings": (None, "hidden"),
        r"encoder\.conv\.conv": ("hidden", "hidden", None),
    },
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
    sizes=SizeKeys("dim", "hidden_dim", "n_heads"),
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
    outside=_PATCHES,
)
_SWIN = replace(
    _VIT,
    bias="attention.relative_position_bias.relative_position_bias_table",
    outside={
        **_PATCHES,
        r"downsample\.norm": ("merged",),
        r"downsample\.reduction": ("hidden", "merged"),
    },
    sizes=None,
)
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
    outside={r"(^|\.)shared": (None, "hidden")},
    sizes=SizeKeys("d_model", "d_ff", "num_heads", head_size="d_kv"),
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
    outside={r"(^|\.)(wte|wpe)": (None, "hidden"), r"(^|\.)ln_[12f]": ("hidden",)},
    sizes=SizeKeys("n_embd", "n_inner", "n_head", neurons_by_hidden=4),
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
    outside={r"[qk]_norm": (None,)},
    sizes=SizeKeys(key_values="num_key_value_heads", head_size="head_dim"),
    refuses={"head_width": _ROTARY},
)
# Gemma scales embeddings by the root of the width in its config; another width scales otherwise.
_GEMMA = replace(_LLAMA, sizes=None)
_GTE = replace(_LLAMA, sizes=SizeKeys())
_MODERNBERT = Layout(
    attention="attn",
    query="attn.Wqkv",
    key="attn.Wqkv",
    value="attn.Wqkv",
    output="attn.Wo",
    up="mlp.Wi",
    gate="mlp.Wi",
    down="mlp.Wo",
    heads=None,
    head_size="head_dim",
    outside={
        r"tok_embeddings": (None, "hidden"),
        r"(^|\.)head\.dense": ("pooled", "hidden"),
        r"(^|\.)head\.norm": ("pooled",),
    },
    refuses={"head_width": _ROTARY},
)
_ALBERT = Layout(
    attention="attention",
    query="attention.query",
    key="attention.key",
    value="attention.value",
    output="attention.dense",
    up="ffn",
    down="ffn_output",
    all_heads="all_head_size",
    outside={
        # Embeddings have a width of their own, even where it is that of the layers.
        r"embeddings\.\w+_embeddings": (None, None),
        r"embeddings\.LayerNorm": (None,),
        r"embedding_hidden_mapping_in": ("hidden", None),
        r"(^|\.)pooler": ("pooled", "hidden"),
    },
    sizes=SizeKeys(again=()),
)
_CLIP = Layout(
    attention="self_attn",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    output="self_attn.out_proj",
    up="mlp.fc1",
    down="mlp.fc2",
    heads="num_heads",
    head_size="head_dim",
    outside={
        r"(token|position)_embedding": (None, "hidden"),
        r"patch_embedding": ("hidden", None, None, None),
        r"(^|\.)embeddings": ("hidden",),  # the class token, a parameter of its own
        r"layer_norm[12]|pre_layrnorm": ("hidden",),
    },
)
_BART = Layout(
    attention="self_attn",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    output="self_attn.out_proj",
    up="fc1",
    down="fc2",
    cross="encoder_attn",
    heads="num_heads",
    head_size="head_dim",
    sizes=None,
    refuses={"hidden": _BOTH},
)

LAYOUTS: dict[str, Layout] = {
    "albert": _ALBERT,
    "bart": _BART,
    "bert": _BERT,
    "camembert": _BERT,
    "clip": replace(_CLIP, sizes=None),
    "clip_text_model": _CLIP,
    "clip_vision_model": _CLIP,
    "deberta-v2": _DEBERTA,
    "deit": _VIT,
    "distilbert": _DISTILBERT,
    "electra": _ELECTRA,
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "gpt2": _GPT2,
    "gte": _GTE,
    "llama": _LLAMA,
    "marian": _BART,
    "mistral": _LLAMA,
    "modernbert": _MODERNBERT,
    "mpnet": _MPNET,
    "nomic_bert": _GTE,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "roberta": _BERT,
    "swin": _SWIN,
    "t5": replace(_T5, otherwise=_GATED_T5),
    "vit": _VIT,
    "whisper": _BART,
    "xlm-roberta": _BERT,
}
"""Layouts by the config's `model_type`, as of transformers 5. A family needs only an entry here:
pruning, narrower students and their predicted sizes read nothing else."""


def family(module: nn.Module) -> str | None:
    """The `model_type` of a module if `LAYOUTS` describes it, else None."""
    kind = getattr(getattr(module, "config", None), "model_type", None)
    return kind if kind in LAYOUTS else None


def laid_out_layers(module: nn.Module, layout: Layout) -> list[str]:
    """Paths of the layers with this layout, in their order."""
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
