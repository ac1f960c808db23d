"""The boundary to onnxruntime's quantizer, which raises anything and names no node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compress.core.foreign.boundary import described
from compress.errors import CompressError, StageError
from compress.quantization.silence import silence

if TYPE_CHECKING:
    import onnx

    from compress.quantization.selection import Selection

Build = Callable[["Selection"], "onnx.ModelProto"]
"""A function that lets the library quantize the nodes of a selection."""


def built(build: Build, selection: Selection) -> onnx.ModelProto:
    """Return what the library makes of a selection.

    Raises
    ------
    StageError : the library fails; the message names the node on which it does.
    """
    try:
        with silence():
            return build(selection)
    except CompressError:
        raise
    except Exception as error:  # the library checks little, and fails at whatever comes of it
        node = _culprit(build, selection, selection.nodes)
        where = f"node {node!r}" if node else "this graph"
        raise StageError(
            f"ONNX Runtime's quantizer can't quantize {where}: {described(error)}. "
            "'exclude' keeps a node in float."
        ) from error


def _culprit(build: Build, selection: Selection, nodes: Sequence[str]) -> str | None:
    """Name of a node with which the library fails, by halves; None if no half fails alone."""
    if len(nodes) == 1:
        return nodes[0]
    middle = len(nodes) // 2
    for half in (nodes[:middle], nodes[middle:]):
        if half and _fails(build, selection.only(half)):
            return _culprit(build, selection, half)
    return None


def _fails(build: Build, selection: Selection) -> bool:
    try:
        with silence():
            build(selection)
    except Exception:  # noqa: BLE001 (as above)
        return True
    return False
