"""Attention of torch's own modules with fewer heads than the model's width has room for.

`nn.MultiheadAttention` takes the width of a head to be the model's width divided by the number of
heads, so that it can't run once heads are cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear, pad, scaled_dot_product_attention


class FewerHeads(nn.MultiheadAttention):
    """`nn.MultiheadAttention` whose heads keep their width, whatever the model's width is.

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762. It has the
    parameters of `nn.MultiheadAttention`, with fewer rows for queries, keys and values and fewer
    columns of the output's layer. `num_heads` and `head_dim` say which.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what `nn.MultiheadAttention` returns, for the heads that are left.

        Parameters
        ----------
        query : (L, C), (L, N, C), or (N, L, C) with `batch_first`; keys and values alike, (S, …).
        key_padding_mask : (S,) or (N, S); True or -inf for keys that are left out.
        need_weights : return the attention weights too.
        attn_mask : (L, S), or (N * heads, L, S); True or -inf for pairs that are left out.
        average_attn_weights : average the returned weights over the heads.
        is_causal : says that `attn_mask` is causal, which is seen from the mask itself.

        Returns
        -------
        The answer, shaped as the query, and weights (N, L, S), (N, heads, L, S), or None.
        """
        batched = query.dim() == 3
        given = [query, key, value]
        same = query is key is value
        if not batched:
            given = [x.unsqueeze(0) for x in given]
        elif not self.batch_first:
            given = [x.transpose(0, 1) for x in given]
        projected = self._projected(given, same=same)
        queries, keys, values = self._extended(*(self._apart(x) for x in projected))
        mask = self._added(attn_mask, key_padding_mask, dtype=queries.dtype)
        rate = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = queries * math.sqrt(1 / self.head_dim) @ keys.transpose(2, 3)
            weights = dropout((scores if mask is None else scores + mask).softmax(-1), rate)
            seen = weights @ values
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            seen = scaled_dot_product_attention(queries, keys, values, mask, rate)
        answer = self.out_proj(seen.transpose(1, 2).flatten(2))
        if not batched:
            return answer.squeeze(0), None if weights is None else weights.squeeze(0)
        return answer if self.batch_first else answer.transpose(0, 1), weights

    def _projected(self, given: Sequence[Tensor], *, same: bool) -> list[Tensor]:
        """Queries, keys and values (N, L, heads * head_dim) of three tensors, or of one."""
        if self.in_proj_weight is not None and same:
            return list(linear(given[0], self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1))
        weights: Sequence[Tensor] = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        if self.in_proj_weight is not None:
            weights = self.in_proj_weight.chunk(3)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return [linear(*each) for each in zip(given, weights, biases, strict=True)]

    def _apart(self, projected: Tensor) -> Tensor:
        """(N, heads, L, head_dim) of (N, L, heads * head_dim)."""
        split = (*projected.shape[:-1], self.num_heads, self.head_dim)
        return projected.reshape(split).transpose(1, 2)

    def _extended(
        self, queries: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Add a learned key and value, and one of zeros, if the module has them."""
        batch = keys.shape[0]
        if self.bias_k is not None and self.bias_v is not None:
            learned_key, learned_value = self._apart(self.bias_k), self._apart(self.bias_v)
            keys = torch.cat([keys, learned_key.expand(batch, -1, -1, -1)], dim=2)
            values = torch.cat([values, learned_value.expand(batch, -1, -1, -1)], dim=2)
        if self.add_zero_attn:
            keys, values = pad(keys, (0, 0, 0, 1)), pad(values, (0, 0, 0, 1))
        return queries, keys, values

    def _added(
        self, pairs: Tensor | None, padding: Tensor | None, *, dtype: torch.dtype
    ) -> Tensor | None:
        """The sum of both masks, as what is added to scores (N, heads, L, S); None without any."""
        if padding is not None:
            padding = padding.reshape(-1, 1, 1, padding.shape[-1])
        if pairs is not None and pairs.dim() == 3:
            pairs = pairs.reshape(-1, self.num_heads, *pairs.shape[1:])
        learned = int(self.bias_k is not None) + int(self.add_zero_attn)
        total = None
        for mask in (pairs, padding):
            if mask is None:
                continue
            if mask.dtype is torch.bool:
                mask = torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf)
            total = mask if total is None else total + mask
        return pad(total, (0, learned)) if learned and total is not None else total


def fit_heads(module: nn.Module) -> None:
    """Make attentions of torch's own, heads of which were cut, run with those that are left."""
    cut = [part for part in _own(module) if part.num_heads * part.head_dim != part.embed_dim]
    for part in cut:
        _run_apart(part)
    if cut:
        _unpack(module)


def call_parts(module: nn.Module) -> None:
    """Make encoder layers of torch's own call linear layers that were exchanged for others.

    Otherwise they read their weights, where they can, and run as one fused operation.
    """
    for layer in module.modules():
        if not isinstance(layer, nn.TransformerEncoderLayer):
            continue
        if type(layer.linear1) is not nn.Linear or type(layer.linear2) is not nn.Linear:
            layer.activation_relu_or_gelu = 0  # only the fused operation needs to know it
            _unpack(module)


@contextmanager
def heads_apart(module: nn.Module) -> Iterator[None]:
    """Within the context, attentions of torch's own call their output's layer as a module.

    Otherwise they read its weight, and hooks on it never run.
    """
    own, encoders = _own(module), _encoders(module)
    same = [part._qkv_same_embed_dim for part in own]
    nested = [encoder.use_nested_tensor for encoder in encoders]
    try:
        for part in own:
            _run_apart(part)
        _unpack(module)
        yield
    finally:
        for part, was in zip(own, same, strict=True):
            part.__class__ = nn.MultiheadAttention
            part._qkv_same_embed_dim = was
        for encoder, packs in zip(encoders, nested, strict=True):
            encoder.use_nested_tensor = packs


def _own(module: nn.Module) -> list[nn.MultiheadAttention]:
    return [part for part in module.modules() if type(part) is nn.MultiheadAttention]


def _encoders(module: nn.Module) -> list[nn.TransformerEncoder]:
    """The encoders, which pack padded samples into tensors that only torch's attention reads."""
    return [part for part in module.modules() if isinstance(part, nn.TransformerEncoder)]


def _unpack(module: nn.Module) -> None:
    """Let encoders run padded samples as they are."""
    for encoder in _encoders(module):
        encoder.use_nested_tensor = False


def _run_apart(part: nn.MultiheadAttention) -> None:
    part.__class__ = FewerHeads
    # torch's fused encoder layer reads this, and then leaves the attention to the module.
    part._qkv_same_embed_dim = False
