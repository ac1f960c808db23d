"""Makes all ONNX Runtime sessions, so that every model runs with the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.batch import ATTENTION_MASK
from compress.errors import DataError, LoadError, StageError, clipped
from compress.tasks.outputs import joined

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime
    from torch import Tensor

ERRORS_ONLY = 3
PROVIDERS = ["CPUExecutionProvider"]
PAST, POSITIONS, TOKENS = "past_key_values.", "position_ids", "input_ids"
"""Inputs of models that generate text, as Optimum and Transformers.js name them."""
PRESENT = "present."
"""Beginning of the names of such a model's outputs that are its cache."""


def session(onnx: Path, *, threads: int) -> onnxruntime.InferenceSession:
    """A session to measure and compare a file: on the CPU, with all graph optimisations.

    Parameters
    ----------
    threads : number of threads within an operator; operators run one after another.

    Raises
    ------
    LoadError : ONNX Runtime can't load the file.
    """
    import onnxruntime

    options = _options(threads)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    try:
        return onnxruntime.InferenceSession(str(onnx), options, providers=PROVIDERS)
    except runtime_errors() as error:
        raise LoadError(f"ONNX Runtime can't load {onnx}: {clipped(str(error))}") from error


def unoptimized_session(
    model: onnx.ModelProto, *, path: Path, threads: int = 1
) -> onnxruntime.InferenceSession:
    """A session of a model in memory that computes every tensor of the graph as it stands.

    Parameters
    ----------
    model : the graph, loaded without its external data.
    path : the file it came from; its external data are looked for beside it.

    Raises
    ------
    LoadError : ONNX Runtime can't load the model.
    """
    import onnxruntime

    options = _options(threads)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    folder = str(path.resolve().parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=PROVIDERS)
    except runtime_errors() as error:
        raise LoadError(f"ONNX Runtime can't load {path}: {clipped(str(error))}") from error


def feed(
    session: onnxruntime.InferenceSession, batch: Mapping[str, Tensor | np.ndarray]
) -> dict[str, np.ndarray]:
    """The arrays that a session takes, from a batch that may hold more (such as `labels`).

    For a model that generates text, missing inputs are supplied: empty caches, and positions that
    don't count padding.

    Raises
    ------
    DataError : the batch lacks one of the model's inputs.
    """
    import numpy as np

    wanted = session.get_inputs()
    arrays = {value.name: _array(value, batch) for value in wanted}
    missing = [name for name, array in arrays.items() if array is None]
    if missing:
        raise DataError(
            f"the model takes the inputs {', '.join(arrays)}, but the batch has no "
            f"{', '.join(missing)}. It has: {', '.join(batch) or 'nothing'}."
        )
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def is_supplied(name: str) -> bool:
    """Return whether `feed` supplies an input that a batch lacks."""
    return name.startswith(PAST) or name == POSITIONS


def _array(
    value: onnxruntime.NodeArg, batch: Mapping[str, Tensor | np.ndarray]
) -> Tensor | np.ndarray | None:
    """An input's values; None if the batch lacks them and they can't be supplied."""
    import numpy as np

    if value.name in batch:
        return batch[value.name]
    if value.name.startswith(PAST) and batch:
        heads, width = value.shape[1], value.shape[3]
        samples = len(next(iter(batch.values())))
        kind = np.float16 if "float16" in value.type else np.float32
        return np.zeros((samples, heads, 0, width), kind)
    if value.name == POSITIONS and {TOKENS, ATTENTION_MASK} <= batch.keys():
        mask = np.asarray(batch[ATTENTION_MASK])
        places: np.ndarray = np.maximum(mask.cumsum(-1) - 1, 0)
        return places[:, mask.shape[1] - batch[TOKENS].shape[1] :]
    return None


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
        said = clipped(str(error))
        raise StageError(f"ONNX Runtime failed on the inputs {shapes}: {said}") from error


def answer_of(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The outputs of `run` as one array, as `compress.tasks.outputs.joined` makes it.

    The cache of a model that generates text doesn't count.
    """
    answer: np.ndarray = joined(
        [value for name, value in outputs.items() if not name.startswith(PRESENT)]
    )
    return answer


@cache
def runtime_errors() -> tuple[type[Exception], ...]:
    """The errors that ONNX Runtime and its bindings raise; they share no class but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = tuple(
        value
        for value in vars(state).values()
        if isinstance(value, type) and issubclass(value, Exception)
    )
    return (*own, MemoryError, OverflowError, RuntimeError, TypeError, ValueError)


def _options(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = ERRORS_ONLY
    # Otherwise one model's idle threads would keep spinning while the next model is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options
