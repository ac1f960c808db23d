"""Makes all ONNX Runtime sessions, so that every model runs with the same settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from compress.core.batch import ATTENTION_MASK
from compress.errors import DataError, LoadError, StageError, clipped
from compress.tasks.outputs import compared, joined

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime
    from torch import Tensor

FATAL_ONLY = 4
"""Errors are raised; onnxruntime needn't print them too."""
_FAILED = re.compile(r"running (\S+) node\. Name:'([^']*)' Status Message: (.*)")
_PLACE = re.compile(r"^\S+\.(?:cc|h):\d+ [^)]*\) ")
"""The place in onnxruntime's source that raised."""
PROVIDERS = ["CPUExecutionProvider"]
PAST, POSITIONS, TOKENS = "past_key_values.", "position_ids", "input_ids"
"""Inputs of models that generate text, as Optimum and Transformers.js name them."""


def session(onnx: Path, *, threads: int, exact: bool = False) -> onnxruntime.InferenceSession:
    """A session to measure and compare a file: on the CPU, with all graph optimisations.

    Parameters
    ----------
    threads : number of threads within an operator; operators run one after another.
    exact : whether 8-bit products are exact on every CPU, and so slower on those where they can
        saturate.

    Raises
    ------
    LoadError : ONNX Runtime can't load the file.
    """
    import onnxruntime

    options = _options(threads)
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
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


class Declaring(Protocol):
    """A model that says its inputs, as a session of ONNX Runtime does."""

    def get_inputs(self) -> Any:
        """Return the inputs, each with `name`, `shape` and `type`."""


def feed(session: Declaring, batch: Mapping[str, Tensor | np.ndarray]) -> dict[str, np.ndarray]:
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

    A file whose batch is fixed is run as often as the samples need, with the last run filled up.

    Raises
    ------
    DataError : the batch lacks one of the model's inputs.
    StageError : ONNX Runtime refuses the inputs or fails.
    """
    names = [value.name for value in session.get_outputs()]
    inputs = feed(session, batch)
    try:
        given = in_parts(session, inputs)
        parts = [session.run(names, part) for part in given]
        if given[0] is inputs:
            return dict(zip(names, parts[0], strict=True))
        return _joined(names, parts, len(next(iter(inputs.values()))))
    except runtime_errors() as error:
        shapes = ", ".join(f"{name} {v.dtype} {v.shape}" for name, v in inputs.items())
        raise StageError(f"ONNX Runtime failed on the inputs {shapes}{failed_at(error)}") from error


def failed_at(error: Exception) -> str:
    """The end of a sentence on a run that failed: the node that did, and what onnxruntime says."""
    said = " ".join(str(error).split())
    node = _FAILED.search(said)
    if node is None:
        return f": {clipped(said)}"
    operator, name, why = node.groups()
    return f", at node {name!r} ({operator}): {clipped(_PLACE.sub('', why))}"


def answer_of(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The outputs of `run` as one array, as `compress.tasks.outputs.joined` makes it.

    Only those that `compared` names count.
    """
    answer: np.ndarray = joined([outputs[name] for name in compared(outputs)])
    return answer


def in_parts(
    session: Declaring, inputs: Mapping[str, np.ndarray]
) -> list[Mapping[str, np.ndarray]]:
    """The inputs of each run: all of them at once, if the file doesn't fix another batch size."""
    import numpy as np

    size = fixed_batch_of(session)
    sizes = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
    if size is None or len(sizes) != 1 or sizes == {size} or sizes == {0}:
        return [inputs]
    count = sizes.pop()
    rows = [np.arange(start, start + size) % count for start in range(0, count, size)]
    return [{name: array[part] for name, array in inputs.items()} for part in rows]


def fixed_batch_of(session: Declaring) -> int | None:
    """The only number of samples that a session's inputs take; None if they take any."""
    firsts = {value.shape[0] if value.shape else None for value in session.get_inputs()}
    size = firsts.pop() if len(firsts) == 1 else None
    return size if isinstance(size, int) and size > 0 else None


def _joined(names: list[str], parts: list[list[np.ndarray]], count: int) -> dict[str, np.ndarray]:
    import numpy as np

    whole: dict[str, Any] = {}
    for name, pieces in zip(names, zip(*parts, strict=True), strict=True):
        if isinstance(pieces[0], list):  # a sequence, such as a ZipMap's
            whole[name] = [one for piece in pieces for one in piece][:count]
        else:
            whole[name] = np.concatenate(pieces)[:count]
    return whole


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
    options.log_severity_level = FATAL_ONLY
    # Otherwise one model's idle threads would keep spinning while the next model is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options
