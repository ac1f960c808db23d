"""NNCF's accuracy control: layers that lose most go back to float until the loss is small."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.measurement.session import answer_of, run, session
from compress.onnx_graph.files import remove_model, save_model

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    Sample = Mapping[str, NDArray[Any]]
    Answering = Callable[[Sample], NDArray[Any]]


@dataclass(frozen=True)
class Restoration:
    """What the accuracy control restores.

    Attributes
    ----------
    loss : the loss of quality of a file compared with the float model; negative if it is better.
    budget : the largest loss that is allowed.
    folder : where trials are written.
    """

    loss: Callable[[Path], float]
    budget: float
    folder: Path


@dataclass
class Validation:
    """The function by which NNCF judges a model.

    On all samples it gives 1 - the loss, which NNCF keeps above a bound. On single samples, by
    which NNCF ranks the layers, it gives how near the answers are to the float model's.

    Parameters
    ----------
    source : the float model.
    samples : inputs by name of the samples by which layers are ranked.
    """

    restoration: Restoration
    source: Path
    samples: Sequence[Sample]
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        answer = _answering(self.source)
        self._wanted = {id(sample): answer(sample) for sample in self.samples}
        self._last: tuple[onnx.ModelProto, Path, Answering] | None = None
        self._count = 0

    def __call__(
        self, model: onnx.ModelProto, items: Iterable[Sample]
    ) -> tuple[float, list[float]]:
        """Return a number that is larger for a better model, and one for each sample."""
        given = list(items)
        path, answer = self._opened(model)
        near = [_nearness(answer(sample), self._wanted[id(sample)]) for sample in given]
        if len(given) < len(self.samples):
            return float(np.mean(near)), near
        self.losses.append(self.restoration.loss(path))
        return 1 - self.losses[-1], near

    def close(self) -> None:
        """Remove the last trial."""
        if self._last is not None:
            remove_model(self._last[1])
            self._last = None

    def notes(self) -> list[str]:
        """Return a note on the losses on the way, of which the first is the float model's."""
        tried = ", ".join(f"{loss:.4f}" for loss in self.losses[1:])
        return [
            f"accuracy control by NNCF, at most {self.restoration.budget:g} lost: losses {tried}"
        ]

    def _opened(self, model: onnx.ModelProto) -> tuple[Path, Answering]:
        if self._last is None or self._last[0] is not model:
            self.close()
            path = self.restoration.folder / f"trial-{self._count:03d}.onnx"
            self._count += 1
            save_model(model, path)
            self._last = (model, path, _answering(path))
        return self._last[1:]


def _answering(path: Path) -> Answering:
    opened = session(path, threads=1)
    return lambda sample: answer_of(run(opened, sample))


def _nearness(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Return 1 for the same answer, less for another: its squared error beside its square."""
    square = float(np.square(wanted.astype(np.float64)).mean())
    error = float(np.square(got.astype(np.float64) - wanted).mean())
    return 1 - error / square if square else -error
