"""Describes a factorization in lines for the report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from compress.factorization.layers import MatrixLayer
from compress.factorization.spectrum import Spectrum

_NUMBER = re.compile(r"\d+")


def describe(
    layers: Sequence[MatrixLayer], ranks: Sequence[int | None], spectra: Sequence[Spectrum]
) -> Iterator[str]:
    """Yield lines on the ranks of layers, and on the energy that they keep.

    Layers whose paths differ only by numbers share a line.

    Parameters
    ----------
    ranks : the rank of each layer; None for a layer that stayed whole.
    """
    alike: dict[tuple[str, int], list[str]] = {}
    for layer, rank in zip(layers, ranks, strict=True):
        kind = (_NUMBER.sub("*", layer.path), min(layer.rows, layer.columns))
        alike.setdefault(kind, []).append("whole" if rank is None else str(rank))
    for (path, full), members in alike.items():
        yield f"rank of {path}: {', '.join(members)} of {full}."
    kept = {
        layer.path: found.kept(rank)
        for layer, rank, found in zip(layers, ranks, spectra, strict=True)
        if rank is not None
    }
    least = min(kept, key=lambda path: kept[path])
    mean = sum(kept.values()) / len(kept)
    yield (
        f"{len(kept)} of {len(layers)} layers were split; of their energy {mean:.1%} is kept on "
        f"average, least ({kept[least]:.1%}) of {least}."
    )
