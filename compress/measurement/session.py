"""ONNX Runtime sessions: the one place where they are made, so that everything runs alike."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.errors import DataError, StageError

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime
    from torch import Tensor

ERRORS_ONLY = 3
PROVIDERS = ["CPUExecutionProvider"]


def session(onnx: Path, *, threads: int) -> onnxruntime.InferenceSession:
    """The session in which a file is measured and compared: CPU, all graph optimisations.

    Parameters
    ----------
    threads : threads within an operator; operators run one after another.

    Raises
    ------
    StageError : ONNX Runtime can't load the file.
    """
    import onnxruntime

    options = _options(threads)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    try:
        return onnxruntime.InferenceSession(str(onnx), options, providers=PROVIDERS)
    except runtime_errors() as error:
        raise StageError(f"ONNX Runtime can't load {onnx}: {error}") from error


def unoptimized_session(
    model: onnx.ModelProto, *, path: Path, threads: int = 1
) -> onnxruntime.InferenceSession:
    """A session of a model in memory that computes every tensor just as the graph names it.

    Parameters
    ----------
    model : the graph, loaded without its external data.
    path : the file it came from; its external data are looked for beside it.

    Raises
    ------
    StageError : ONNX Runtime can't load the model.
    """
    import onnxruntime

    options = _options(threads)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    folder = str(path.resolve().parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=PROVIDERS)
    except runtime_errors() as error:
        raise StageError(f"ONNX Runtime can't load {path}: {error}") from error


def feed(
    session: onnxruntime.InferenceSession, batch: Mapping[str, Tensor | np.ndarray]
) -> dict[str, np.ndarray]:
    """The arrays that a session takes, out of a batch that may hold more (such as `labels`).

    Raises
    ------
    DataError : the batch lacks one of the model's inputs.
    """
    import numpy as np

    names = [value.name for value in session.get_inputs()]
    missing = [name for name in names if name not in batch]
    if missing:
        raise DataError(
            f"the model takes the inputs {', '.join(names)}, but the batch has no "
            f"{', '.join(missing)}. It has: {', '.join(batch) or 'nothing'}."
        )
    return {name: np.ascontiguousarray(batch[name]) for name in names}


def run(
    session: onnxruntime.InferenceSession, batch: Mapping[str, Tensor | np.ndarray]
) -> dict[str, np.ndarray]:
    """Outputs by name for one batch.

    Raises
    ------
    DataError : the batch lacks one of the model's inputs.
    StageError : ONNX Runtime refuses the inputs or fails.
    """
    names = [value.name for value in session.get_outputs()]
    inputs = feed(session, batch)
    try:
        return dict(zip(names, session.run(names, inputs), strict=True))
    except runtime_errors() as error:
        shapes = ", ".join(f"{name} {v.dtype} {v.shape}" for name, v in inputs.items())
        raise StageError(f"ONNX Runtime failed on the inputs {shapes}: {error}") from error


@cache
def runtime_errors() -> tuple[type[Exception], ...]:
    """The exceptions that ONNX Runtime raises; they share no class but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(
        value
        for value in vars(state).values()
        if isinstance(value, type) and issubclass(value, Exception)
    )


def _options(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = ERRORS_ONLY
    # Otherwise one model's idle threads would go on spinning while the next model is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options
