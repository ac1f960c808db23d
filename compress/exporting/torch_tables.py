"""Shares between exports the tables of operators that torch's exporter makes anew in each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch._export.utils as export_utils
import torch.fx.config as fx_config
from torch.onnx._internal.exporter._registration import ONNXRegistry

_PARSED = "from_torchlib"
_LISTED = "_materialize_cpp_cia_ops"


@contextmanager
def shared_tables() -> Iterator[None]:
    """Let an export use the tables of an earlier one. The file is the same.

    Each export parses the source of torchlib's translations, a fifth of the time for a small model,
    lists all operators of torch for each of their namespaces, and reads the line of source of each
    node, though these traces are removed from the file.
    """
    parsed, listed = ONNXRegistry.__dict__[_PARSED], getattr(export_utils, _LISTED)
    traced = fx_config.do_not_emit_stack_traces
    setattr(ONNXRegistry, _PARSED, staticmethod(_registry))
    # Operators may be added between two exports.
    setattr(export_utils, _LISTED, functools.cache(listed))
    fx_config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        setattr(ONNXRegistry, _PARSED, parsed)
        setattr(export_utils, _LISTED, listed)
        fx_config.do_not_emit_stack_traces = traced


_from_torchlib = cast("Callable[..., ONNXRegistry]", getattr(ONNXRegistry, _PARSED))


@functools.cache
def _registry(**options: Any) -> ONNXRegistry:
    return _from_torchlib(**options)
