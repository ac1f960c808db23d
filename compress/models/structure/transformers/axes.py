"""The axis of each dimension of a described family's parameters.

No torch here: a file's header is enough to count the parameters of a narrower model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from compress.errors import StageError, few
from compress.models.structure.transformers.families import LAYOUTS
from compress.models.structure.transformers.layout import OUTSIDE, TOKENS, Axes, Layout


def axes_of(names: Iterable[str], *, config: Mapping[str, Any]) -> dict[str, Axes | None]:
    """The axes of every parameter of a model, or None for one that the description doesn't name.

    Parameters
    ----------
    names : names of all its parameters.
    config : the model's config, as its JSON. Its `model_type` is that of a described family.
    """
    names = list(names)
    layout = _form(LAYOUTS[str(config.get("model_type"))], names)
    found = {name: _axes(name, layout) for name in names}
    embedding = config.get("embedding_size")
    if embedding is not None and embedding != config.get("hidden_size"):
        found |= _own_embedding(found)
    if any(axes and axes[0] == "pooled" for axes in found.values()):
        return found
    return {name: axes and _without_pooler(axes) for name, axes in found.items()}


def known_axes(dims: Mapping[str, int], *, config: Mapping[str, Any]) -> dict[str, Axes]:
    """The axes of every parameter of a model, all of which the description must name.

    Parameters
    ----------
    dims : number of dimensions of each parameter, by name.
    config : the model's config, as for `axes_of`.

    Raises
    ------
    StageError : the description doesn't name some parameters, or has other dimensions for them.
    """
    found = axes_of(dims, config=config)
    known = {name: axes for name, axes in found.items() if axes and len(axes) == dims[name]}
    if len(known) < len(found):
        raise StageError(
            f"hidden units can't be cut: models of type {config.get('model_type')!r} aren't known "
            f"to have {few([name for name in found if name not in known])}."
        )
    return known


def _form(layout: Layout, names: Iterable[str]) -> Layout:
    """The family's form that has the model's feed-forward."""
    for form in layout.forms:
        if any(name.endswith(f".{form.up}.weight") for name in names):
            return form
    return layout


def _axes(name: str, layout: Layout) -> Axes | None:
    path, _, leaf = name.rpartition(".")
    token = _first(TOKENS, name)
    if token is not None:
        return token
    inside = _first(_linears(layout), path)
    if inside is not None:
        return inside[:1] if leaf != "weight" else inside[::-1] if layout.transposed else inside
    outside = _first({**layout.outside, **OUTSIDE}, path)
    if outside is not None:
        return outside if leaf == "weight" else outside[:1]
    scores = (layout.bias and name.endswith(f".{layout.bias}")) or (
        layout.shared_bias and path.endswith(layout.shared_bias)
    )
    return (None, "head_count") if scores else None


def _first(rules: Mapping[str, Axes], name: str) -> Axes | None:
    """The axes of the first rule that fits the end of a name, or None."""
    return next((axes for end, axes in rules.items() if re.search(f"(?:{end})$", name)), None)


def _linears(layout: Layout) -> dict[str, Axes]:
    """Axes of the linear layers inside a layer, as (out, in)."""
    inside: dict[str, Axes] = {
        layout.key: ("key_values", "hidden"),
        layout.value: ("key_values", "hidden"),
        layout.query: ("fused" if layout.fused else "heads", "hidden"),
        layout.output: ("hidden", "heads"),
        layout.gate or layout.up: ("neurons", "hidden"),
        layout.up: ("gated" if layout.packed else "neurons", "hidden"),
        layout.down: ("hidden", "neurons"),
        **dict.fromkeys(layout.also, ("heads", "hidden")),
    }
    return {rf"\.\d+\.{re.escape(suffix)}": axes for suffix, axes in inside.items()}


def _own_embedding(found: Mapping[str, Axes | None]) -> Iterator[tuple[str, Axes]]:
    """Yield the axes of embeddings of another width, which are projected to the hidden units."""
    inside = {name: axes for name, axes in found.items() if ".embeddings." in f".{name}"}
    # Normalisation follows a projection inside the embeddings, and precedes one outside.
    projected = ("hidden", None) in inside.values()
    for name, axes in inside.items():
        if name.endswith(".weight") and axes == (None, "hidden"):
            yield name, (None, None)
        elif not projected and axes == ("hidden",):
            yield name, (None,)


def _without_pooler(axes: Axes) -> Axes:
    """Replace a pooler's units by hidden ones, for a model without a pooler."""
    return tuple("hidden" if axis == "pooled" else axis for axis in axes)
