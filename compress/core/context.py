"""What a stage may use besides the artifact it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from compress.core.progress import Progress, Silent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.core.artifact import Artifact, Preprocessor

Split = Literal["train", "validation", "test", "calibration"]
Batch = Mapping[str, "Tensor"]
"""Model inputs by name, and `labels` (N,), all on the CPU."""


class Loader(Protocol):
    """Batches of one split; iterating again gives the next epoch's order where it is shuffled."""

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """One epoch."""
        ...


class Data(Protocol):
    """The splits of a run's data."""

    def size(self, split: Split) -> int:
        """Samples in a split."""
        ...

    def loader(
        self,
        split: Split,
        preprocessor: Preprocessor,
        *,
        batch_size: int,
        shuffle_seed: int | None = None,
        limit: int | None = None,
        fixed_length: bool = False,
    ) -> Loader:
        """Batches of a split.

        Parameters
        ----------
        preprocessor : makes the inputs.
        batch_size : samples in a batch; the last one may be smaller.
        shuffle_seed : shuffle each epoch anew from this seed; None keeps the split's order.
        limit : only the split's first samples.
        fixed_length : pad text to the preprocessor's full length rather than the batch's longest.
        """
        ...


class Task(Protocol):
    """What a model is for."""

    @property
    def name(self) -> str:
        """Such as "image-classification"."""
        ...

    @property
    def modality(self) -> Literal["image", "text"]:
        """What the inputs are."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the ONNX file's outputs."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that its quality can be measured with; the first is the default."""
        ...

    def logits(self, module: nn.Module, inputs: Batch) -> Tensor:
        """Run a module on the inputs (without `labels`); returns its raw scores (N, C)."""
        ...


@dataclass(frozen=True)
class Context:
    """Everything around one stage of one run.

    Attributes
    ----------
    reference : the trained model that the run began with (after a `train` stage: what that made).
        Teacher of every distillation; what quality and speed are compared with.
    task : what the model is for.
    data : the splits train, validation, test and calibration.
    directory : an empty folder of this stage, for files that the returned artifact points to.
    seed : of all randomness in the stage.
    device : "cpu" or "cuda", for training and other torch work.
    threads : torch threads.
    progress : where to say how far the work is.
    """

    reference: Artifact
    task: Task
    data: Data
    directory: Path
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    progress: Progress = field(default_factory=Silent)
