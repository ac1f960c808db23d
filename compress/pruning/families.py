"""Where attention heads and feed-forward neurons are in transformers' encoder families.

These repeat one layer, so a description of it is enough, and nothing needs to be traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from compress.errors import StageError
from compress.pruning.groups import Attribute, Group, Slice, block_index
from compress.pruning.options import Unit


@dataclass(frozen=True)
class Layout:
    """Paths inside one encoder layer.

    Attributes
    ----------
    attention : the module that splits into heads.
    query, key, value, output : the attention's linear layers.
    up, down : the feed-forward's linear layers.
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
    heads: str = "num_attention_heads"
    head_size: str = "attention_head_size"
    all_heads: str | None = None
    shared_bias: str | None = None

    @property
    def linears(self) -> tuple[str, ...]:
        """All paths of linear layers."""
        return (self.query, self.key, self.value, self.output, self.up, self.down)


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
"""Layouts by the config's `model_type`, as of transformers 5."""


def family(module: nn.Module) -> str | None:
    """The `model_type` of a module that `FAMILIES` describes; None for any other."""
    kind = getattr(getattr(module, "config", None), "model_type", None)
    return kind if kind in FAMILIES else None


def family_groups(module: nn.Module, *, units: Sequence[Unit]) -> list[Group]:
    """Heads and neurons of a module that `FAMILIES` describes, in the order of its layers.

    Raises
    ------
    StageError : its layers aren't laid out as the family's.
    """
    kind = family(module) or ""
    layout = FAMILIES[kind]
    layers = [path for path, part in module.named_modules() if _is_layer(part, layout)]
    if not layers:
        raise StageError(
            f"{type(module).__name__} (model_type {kind!r}) isn't laid out as transformers 5 lays "
            f"out {kind!r}: no layer has {', '.join(layout.linears)}."
        )
    groups: list[Group] = []
    for path in layers:
        if "heads" in units and layout.shared_bias is None:
            groups.append(_heads(module, path, layout))
        if "feed_forward" in units:
            groups.append(_neurons(module, path, layout))
    if "heads" in units and layout.shared_bias is not None:
        groups.append(_shared_heads(module, layers, layout))
    return groups


def _is_layer(part: nn.Module, layout: Layout) -> bool:
    for path in layout.linears:
        found: nn.Module | None = part
        for name in path.split("."):
            found = None if found is None else dict(found.named_children()).get(name)
        if not isinstance(found, nn.Linear):
            return False
    return True


def _rows(path: str, linear: nn.Module, index: Tensor) -> list[Slice]:
    """What makes the units: a linear layer's rows, and its bias where it has one."""
    slices = [Slice(path, "weight", 0, index)]
    return slices if linear.bias is None else [*slices, Slice(path, "bias", 0, index)]


def _neurons(module: nn.Module, layer: str, layout: Layout) -> Group:
    up, down = f"{layer}.{layout.up}", f"{layer}.{layout.down}"
    linear = module.get_submodule(up)
    index = block_index(linear.get_parameter("weight").shape[0], 1)
    slices = (*_rows(up, linear, index), Slice(down, "weight", 1, index))
    return Group(up, "feed_forward", len(index), slices)


def _heads(module: nn.Module, layer: str, layout: Layout) -> Group:
    name = f"{layer}.{layout.attention}"
    attention = module.get_submodule(name)
    heads, size = getattr(attention, layout.heads), getattr(attention, layout.head_size)
    index = block_index(heads, size)
    slices: list[Slice] = []
    for projection in (layout.query, layout.key, layout.value):
        path = f"{layer}.{projection}"
        slices += _rows(path, module.get_submodule(path), index)
    slices.append(Slice(f"{layer}.{layout.output}", "weight", 1, index))
    attributes = [Attribute(name, layout.heads, 1)]
    if layout.all_heads is not None:
        attributes.append(Attribute(name, layout.all_heads, size))
    return Group(name, "heads", heads, tuple(slices), tuple(attributes))


def _shared_heads(module: nn.Module, layers: Sequence[str], layout: Layout) -> Group:
    each = [_heads(module, layer, layout) for layer in layers]
    bias = next(p for p, _ in module.named_modules() if p.split(".")[-1] == layout.shared_bias)
    return Group(
        f"{bias} and all layers",
        "heads",
        each[0].units,
        (
            *(part for group in each for part in group.slices),
            Slice(bias, "weight", 1, block_index(each[0].units, 1)),
        ),
        tuple(attribute for group in each for attribute in group.attributes),
    )
