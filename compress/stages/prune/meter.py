"""Measures modules as ONNX files in ONNX Runtime, for pruning targets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from compress.exporting.to_onnx import export_module
from compress.measurement.latency.measure import measure_latency
from compress.measurement.size import size_bytes
from compress.measurement.spec import MeasureSpec
from compress.stages.prune.options import LatencyOptions
from compress.training.batches import first_inputs

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from compress.core.artifact import Artifact
    from compress.core.context import Context

_ROUNDS, _WARMUP, _SECONDS = 30, 3, 3.0


class OnnxMeter(AbstractContextManager["OnnxMeter"]):
    """A `compress.pruning.cost.meter.Meter`. Its files are removed when the context ends.

    With one thread, latency is that thread's CPU time, so other processes don't disturb it.

    Parameters
    ----------
    artifact : gives the preprocessor and the labels. Inputs are real validation samples; texts are
        padded to the full length.
    options : how latency is measured.
    """

    def __init__(
        self, artifact: Artifact, context: Context, *, options: LatencyOptions | None = None
    ) -> None:
        self._artifact = artifact
        self._context = context
        self._options = options or LatencyOptions()
        self._folder = tempfile.TemporaryDirectory()
        self._original: tuple[nn.Module, Path] | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    @property
    def batch_size(self) -> int:
        """See `Meter.batch_size`."""
        return self._options.batch_size

    def size_bytes(self, module: nn.Module) -> int:
        """See `Meter.size_bytes`."""
        with self._exported(module) as path:
            return size_bytes(path)

    def latency_ratio(self, module: nn.Module, original: nn.Module) -> float:
        """See `Meter.latency_ratio`."""
        spec = MeasureSpec(
            batch_sizes=(self.batch_size,),
            threads=self._options.threads,
            rounds=_ROUNDS,
            warmup=_WARMUP,
            seconds=_SECONDS,
        )
        whole = self._exported_original(original)
        with self._exported(module) as path:
            times = measure_latency(
                {"this": path, "original": whole},
                {self.batch_size: self._inputs()},
                spec=spec,
                progress=self._context.progress,
            )
        speedup, _ = times.speedup(self.batch_size, "this", over="original")
        return 1 / speedup

    def _exported_original(self, original: nn.Module) -> Path:
        """Return the original's ONNX file. It is exported once, as it is measured many times."""
        if self._original is None or self._original[0] is not original:
            folder = Path(self._folder.name) / "original"
            folder.mkdir(exist_ok=True)
            self._original = (original, self._export_module(original, folder))
        return self._original[1]

    @contextmanager
    def _exported(self, module: nn.Module) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            yield self._export_module(module, Path(folder))

    def _export_module(self, module: nn.Module, folder: Path) -> Path:
        return export_module(
            module,
            task=self._context.task,
            example=first_inputs(self._context.data, self._artifact.preprocessor),
            path=folder / "model.onnx",
            labels=self._artifact.labels,
        )

    def _inputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return real samples, repeated if the split has fewer than a batch."""
        import numpy as np

        size = self.batch_size
        batch = first_inputs(self._context.data, self._artifact.preprocessor, samples=size)
        return {name: np.resize(x.numpy(), (size, *x.shape[1:])) for name, x in batch.items()}
