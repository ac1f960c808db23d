"""Layer and RMS normalisations over the remaining units.

A normalisation's statistics are of all units, so that zeroing some of them differs from cutting
them. The masked original therefore has these normalisations instead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FIRST = "channels_first"


def normalizes(part: nn.Module) -> bool:
    """Return whether a module is a layer or RMS normalisation over one dimension, with gains."""
    weight = getattr(part, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 1:
        return False
    # transformers' RMS normalisations have no common class, but names in common.
    named = type(part).__name__.endswith("RMSNorm") and hasattr(part, "eps")
    return isinstance(part, nn.LayerNorm | nn.RMSNorm) or hasattr(part, "variance_epsilon") or named


class OverKept(nn.Module):
    """A normalisation over some of the units. All others are set to zero.

    Ba et al., "Layer Normalization", 2016, arXiv:1607.06450; without the mean: Zhang and Sennrich,
    "Root Mean Square Layer Normalization", NeurIPS 2019, arXiv:1910.07467.

    Parameters
    ----------
    norm : a module that `normalizes`; its parameters are shared, not copied.
    kept : (U,) bool; True for the units that it runs over.
    """

    kept: Tensor
    bias: nn.Parameter | None

    def __init__(self, norm: nn.Module, kept: Tensor) -> None:
        super().__init__()
        self.weight = norm.get_parameter("weight")
        self.register_parameter("bias", getattr(norm, "bias", None))
        self.register_buffer("kept", kept.to(self.weight), persistent=False)
        self.centred = isinstance(norm, nn.LayerNorm)
        self.offset = _offset(norm, self.weight)
        self.eps = _epsilon(norm, self.weight)
        self.dim = -3 if getattr(norm, "data_format", None) == _FIRST else -1

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise along the last dimension, or along C for images (N, C, H, W)."""
        hidden = hidden.movedim(self.dim, -1) * self.kept
        count = self.kept.sum()
        if self.centred:
            hidden = (hidden - hidden.sum(dim=-1, keepdim=True) / count) * self.kept
        variance = hidden.square().sum(dim=-1, keepdim=True) / count
        normal = hidden * torch.rsqrt(variance + self.eps) * (self.weight + self.offset)
        if self.bias is not None:
            normal = normal + self.bias * self.kept
        return normal.movedim(-1, self.dim)


def _offset(norm: nn.Module, weight: Tensor) -> float:
    """What a normalisation adds to its weights: 1 if they are differences from 1, as in Gemma."""
    if isinstance(norm, nn.LayerNorm | nn.RMSNorm):
        return 0.0
    with torch.no_grad():
        gain = norm(torch.full_like(weight, 1e3)[None])[0]  # equal values are normalised to 1
    return float((gain - weight).mean().round())


def _epsilon(norm: nn.Module, weight: Tensor) -> float:
    epsilon = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    return torch.finfo(weight.dtype).eps if epsilon is None else float(epsilon)
