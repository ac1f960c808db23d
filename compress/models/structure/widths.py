"""Widths of a model's layers."""

from __future__ import annotations

from torch import nn

_OUTPUTS = ("out_features", "out_channels", "embedding_dim", "nf")
"""The attribute of a layer with weights that has the number of its outputs."""


def widths(module: nn.Module) -> dict[str, int]:
    """Return the number of outputs of each layer with weights, by its path, in the module's order.

    Layers are those of linear maps, convolutions and embeddings. The entries of an embedding (a
    vocabulary's tokens) are counted under the name "<path> (entries)".
    """
    found = {}
    for path, layer in module.named_modules():
        if not isinstance(getattr(layer, "weight", None), nn.Parameter):
            continue
        outputs = next((getattr(layer, name) for name in _OUTPUTS if hasattr(layer, name)), None)
        if isinstance(outputs, int):
            found[path] = outputs
        if isinstance(layer, nn.Embedding):
            found[f"{path} (entries)"] = layer.num_embeddings
    return found
