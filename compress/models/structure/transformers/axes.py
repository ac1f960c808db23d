"""What each dimension of a described family's tensors runs along.

No torch here: a file's header is enough to count what a narrower model would have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from compress.models.structure.transformers.families import LAYOUTS, Layout

Axis = Literal["hidden", "merged", "pooled", "heads", "key_values", "head_count", "neurons"]
"""What a dimension runs along.

hidden : the units that every layer reads and writes; where stages differ in width, every layer of a
    stage.
merged : the hidden units of four neighbouring patches, one patch after another.
pooled : the units of a pooler, or of a head's first layer; as many as hidden ones.
heads : the units of all heads of queries, and of the attention's output before its last layer; of a
    fused layer those of queries, keys and values, one after another.
key_values : those of all heads of keys and values, which are fewer in some decoders.
head_count : the heads themselves.
neurons : of a feed-forward.
"""
Axes = tuple[Axis | None, ...]

_NORM = re.compile(r"(^|[._])(layer_?norm(_before|_after)?|norm|ln_[12f])$", re.IGNORECASE)
_EMBEDDING = re.compile(
    r"((word|position|token_type|rel)_embeddings|embed_tokens|(^|\.)(shared|wte|wpe))$"
)
_TOKEN = re.compile(r"embeddings\.(cls_token|mask_token|distillation_token|position_embeddings)$")
_PATCHES = re.compile(r"patch_embeddings\.projection$")
_PROJECTION = re.compile(r"(^|\.)(embeddings_project|embed_proj)$")
_CONVOLUTION = re.compile(r"encoder\.conv\.conv$")
_POOLER = re.compile(r"(^|\.)(pooler\.dense|classifier\.dense|pre_classifier)$")
_READER = re.compile(r"(^|\.)(\w*classifier|classifier\.out_proj|score|lm_head)$")


class Described:
    """The axes of every parameter of a model.

    Parameters
    ----------
    names : of all its parameters.
    config : of the model, as its JSON.

    Attributes
    ----------
    axes : of each parameter by its name; None for one that the family isn't known to have.
    """

    def __init__(self, names: Iterable[str], *, config: Mapping[str, Any]) -> None:
        names = list(names)
        self._layout = _form(LAYOUTS[str(config.get("model_type"))], names)
        paths = [name.rpartition(".")[0] for name in names]
        self._read: Axis = "pooled" if any(map(_POOLER.search, paths)) else "hidden"
        embedding = config.get("embedding_size")
        self._own_embedding = embedding is not None and embedding != config.get("hidden_size")
        # Projected inside the embeddings, these are normalised afterwards, otherwise before.
        self._projected = any(path.endswith("embeddings.embed_proj") for path in paths)
        self.axes = {name: self._axes(name) for name in names}

    def _axes(self, name: str) -> Axes | None:
        path, _, leaf = name.rpartition(".")
        if self._own_embedding and ".embeddings." in f".{path}.":
            if leaf == "weight" and _EMBEDDING.search(path):
                return (None, None)
            if not self._projected:
                return (None,)
        if _TOKEN.search(name):
            return (None, None, "hidden")
        found = self._linear(path)
        if found is not None:
            return self._of_linear(found, leaf)
        found = self._outside(path)
        if found is not None:
            return found if leaf == "weight" else found[:1]
        if _EMBEDDING.search(path):
            return (None, "hidden")
        if self._layout.bias and name.endswith(f".{self._layout.bias}"):
            return (None, "head_count")
        if self._layout.shared_bias and path.endswith(self._layout.shared_bias):
            return (None, "head_count")
        if path.endswith(("q_norm", "k_norm")):
            return (None,)
        return ("hidden",) if _NORM.search(path) else None

    def _of_linear(self, axes: Axes, leaf: str) -> Axes:
        if leaf != "weight":
            return axes[:1]
        return axes[::-1] if self._layout.transposed else axes

    def _linear(self, path: str) -> Axes | None:
        """Of a layer's linear layers, as (out, in)."""
        layout = self._layout
        inside: dict[str, Axes] = {
            layout.key: ("key_values", "hidden"),
            layout.value: ("key_values", "hidden"),
            layout.query: ("heads", "hidden"),
            layout.output: ("hidden", "heads"),
            layout.up: ("neurons", "hidden"),
            layout.gate or layout.up: ("neurons", "hidden"),
            layout.down: ("hidden", "neurons"),
            **dict.fromkeys(layout.also, ("heads", "hidden")),
        }
        for suffix, axes in inside.items():
            if re.search(rf"\.\d+\.{re.escape(suffix)}$", path):
                return axes
        return None

    def _outside(self, path: str) -> Axes | None:
        """Of what is before, after and between the layers, as (out, in)."""
        if path.endswith("downsample.norm"):
            return ("merged",)
        if path.endswith("downsample.reduction"):
            return ("hidden", "merged")
        if _PATCHES.search(path):
            return ("hidden", None, None, None)
        if _CONVOLUTION.search(path):
            return ("hidden", "hidden", None)
        if _PROJECTION.search(path):
            return ("hidden", None)
        if _POOLER.search(path):
            return ("pooled", "hidden")
        if _READER.search(path):
            return (None, "hidden" if path.endswith("lm_head") else self._read)
        return None


def _form(layout: Layout, names: Iterable[str]) -> Layout:
    """The family's form whose feed-forward a model has."""
    for form in layout.forms:
        if any(name.endswith(f".{form.up}.weight") for name in names):
            return form
    return layout
