"""Runs models in OpenVINO on the CPU, with the settings of ONNX Runtime's sessions."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.errors import LoadError, StageError, clipped
from compress.measurement.runtimes.names import missing
from compress.measurement.session import answer_of, feed, in_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

_ERRORS = (RuntimeError, TypeError, ValueError, OverflowError, MemoryError)
_PLACE = re.compile(
    r"Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:|FrontEnd API failed.*?:"
)
"""The places in OpenVINO's source, which begin each of its messages."""
_TELEMETRY = "openvino_telemetry"


@dataclass(frozen=True)
class DeclaredInput:
    """An input as `feed` reads it; an axis that takes any size has a name."""

    name: str
    shape: tuple[int | str, ...]
    type: str


class OpenVinoModel:
    """A model compiled by OpenVINO for the CPU.

    Parameters
    ----------
    path : an ONNX file, or an .xml of OpenVINO's own form.
    threads : number of threads that compute.

    Raises
    ------
    LoadError : OpenVINO isn't installed, or can't read or compile the file.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        self.path = path
        core = library().Core()
        try:
            model = core.read_model(str(path))
            compiled = core.compile_model(model, "CPU", settings(threads))
            self._request = compiled.create_infer_request()
            self._names = [output.get_any_name() for output in model.outputs]
            self._inputs = [_declared(each) for each in model.inputs]
        except _ERRORS as error:
            raise LoadError(f"OpenVINO can't load {path.name}: {_said(error)}") from error

    def get_inputs(self) -> list[DeclaredInput]:
        """Return the inputs that the model declares, as a session of ONNX Runtime does."""
        return self._inputs

    def run(self, batch: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return the outputs by name for one batch.

        A file whose batch is fixed is run as often as the samples need.

        Raises
        ------
        DataError : the batch lacks one of the model's inputs.
        StageError : OpenVINO refuses the inputs or fails.
        """
        inputs = feed(self, batch)
        # The next call reuses the memory of the outputs.
        parts = [
            [np.array(x) for x in self._infer(part).values()] for part in in_parts(self, inputs)
        ]
        count = len(next(iter(inputs.values())))
        columns = zip(*parts, strict=True)
        return {
            name: column[0] if len(parts) == 1 else np.concatenate(column)[:count]
            for name, column in zip(self._names, columns, strict=True)
        }

    def answer(self, batch: Mapping[str, Any]) -> NDArray[Any]:
        """Return the outputs for one batch as one array; see `session.answer_of`."""
        return answer_of(self.run(batch))

    def prepare(self, inputs: Arrays) -> Callable[[], object]:
        """Return a call that computes the answers to these inputs, to be timed."""
        parts = in_parts(self, feed(self, inputs))

        def call() -> object:
            return [self._infer(part) for part in parts]

        return call

    def _infer(self, arrays: Arrays) -> Any:
        try:
            # Shared as ONNX Runtime shares them: neither copies what it is given.
            return self._request.infer(dict(arrays), share_inputs=True, share_outputs=True)
        except _ERRORS as error:
            raise StageError(f"OpenVINO failed on {self.path.name}: {_said(error)}") from error


def timed(path: Path, *, threads: int) -> Callable[[Arrays], Callable[[], object]]:
    """Return a function from inputs to a call that is timed; it loads the file when first called.

    Its threads inherit the CPUs that are allowed then.
    """
    opened: list[OpenVinoModel] = []

    def prepare(inputs: Arrays) -> Callable[[], object]:
        if not opened:
            opened.append(OpenVinoModel(path, threads=threads))
        return opened[0].prepare(inputs)

    return prepare


def write_own_form(onnx: Path, path: Path) -> None:
    """Write an ONNX file in OpenVINO's own form: an .xml of operators, and weights in a .bin.

    Weights keep their precision.

    Raises
    ------
    LoadError : OpenVINO isn't installed, or can't read the file.
    """
    openvino = library()
    try:
        model = openvino.Core().read_model(str(onnx))
        openvino.save_model(model, str(path), compress_to_fp16=False)
    except _ERRORS as error:
        raise LoadError(f"OpenVINO can't convert {onnx.name}: {_said(error)}") from error


def library() -> Any:
    """Return the module `openvino`; its use is not reported to its makers.

    Raises
    ------
    LoadError : it isn't installed.
    """
    if (wrong := missing(["openvino"])) is not None:
        raise LoadError(f"OpenVINO {wrong}")
    with without_telemetry():
        import openvino
    return openvino


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Import inside the context without `openvino_telemetry`, which reports what is called.

    OpenVINO and NNCF work without the package, and then send nothing.
    """
    before = {name: found for name, found in sys.modules.items() if name == _TELEMETRY}
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
        sys.modules.update(before)


def settings(threads: int) -> dict[str, Any]:
    """Return OpenVINO's settings that equal those of ONNX Runtime's sessions.

    One stream with so many threads, made for latency. Floats are computed in float32: by default
    OpenVINO takes bfloat16 or float16 where the CPU has it.
    """
    return {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }


def _declared(value: Any) -> DeclaredInput:
    axes = tuple(
        axis.get_length() if axis.is_static else f"{value.get_any_name()}:{number}"
        for number, axis in enumerate(value.partial_shape)
    )
    kind = "float16" if value.element_type.get_type_name() == "f16" else "float32"
    return DeclaredInput(value.get_any_name(), axes, kind)


def _said(error: Exception) -> str:
    """Return what an error of OpenVINO says, without the places in its source."""
    return clipped(" ".join(_PLACE.sub("", str(error)).split()))
