"""Architectures of transformers that torch's exporter can't write as ONNX. No torch here."""

from __future__ import annotations

from collections.abc import Mapping

UNEXPORTABLE: Mapping[str, str] = {
    "funnel": "it works out positions with the length of a text as a number of Python",
    "longformer": "the number of its attention's windows depends on the length of a text",
    "reformer": "it cuts texts into pieces by numbers of Python",
}
"""The reason by `model_type`."""


def unexportable(kind: str) -> str | None:
    """Reason why no recipe can begin with a model of a `model_type`; None if one can."""
    why = UNEXPORTABLE.get(kind)
    if why is None:
        return None
    return (
        f"a model of type {kind!r} can't be exported to ONNX for texts of any length: {why}. Every "
        "stage is measured in ONNX Runtime; name a model of another architecture."
    )
