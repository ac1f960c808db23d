"""What a stage may use besides the artifact it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from compress.core.progress import Progress, Silent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.core.artifact import Artifact, Preprocessor

Split = Literal["train", "validation", "test", "calibration"]
Target = Literal["class", "class-set", "token-class", "next-token", "none"]
"""What a sample's label is, and so what a batch holds as `labels`:

class : (N,) int64, a class's index; -100 for a sample without a label.
class-set : (N, C) float32 of 0 and 1, any number of classes (also C = 1); a row of -1 without.
token-class : (N, S) int64, a class for each token; -100 where there is none.
next-token : (N, S) int64, the tokens themselves, not shifted; -100 on padding.
none : there are no labels.
"""
Pooling = Literal["mean", "cls"]
"""What makes one vector of a text's tokens': the mean of the unmasked ones, or the first of
them."""
Batch = Mapping[str, "Tensor"]
"""Model inputs by name, and the entries that `compress.core.batch` names, all on the CPU."""


class Loader(Protocol):
    """Batches of one split; iterating again gives the next epoch's order where it is shuffled."""

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """One epoch."""
        ...


class Raw(Protocol):
    """A few samples as the source has them; see `compress.data.raw.RawSamples`."""

    @property
    def kind(self) -> Literal["text", "pair", "words", "image", "prompt"]:
        """What they are."""
        ...

    @property
    def values(self) -> tuple[Any, ...]:
        """The samples: texts, lists of texts or words, or the bytes of image files."""
        ...


class Data(Protocol):
    """The splits of a run's data."""

    @property
    def fingerprint(self) -> str:
        """Hex digest of the content and of all that decides which samples a split holds."""
        ...

    @property
    def labelled(self) -> bool:
        """Whether it has labels, of the kind that the task reads."""
        ...

    def size(self, split: Split) -> int:
        """Samples in a split."""
        ...

    def raw(self, split: Split, *, limit: int) -> Raw:
        """The first samples of a split, before anything is done to them."""
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
        sample_ids: bool = False,
    ) -> Loader:
        """Batches of a split.

        Parameters
        ----------
        preprocessor : makes the inputs.
        batch_size : samples in a batch; the last one may be smaller.
        shuffle_seed : shuffle each epoch anew from this seed; None keeps the split's order.
        limit : only the split's first samples.
        fixed_length : pad text to the preprocessor's full length rather than the batch's longest.
        sample_ids : batches also hold `sample_ids` (N,): each sample's place in the split, from 0.
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

    @property
    def target(self) -> Target:
        """What a sample's label is."""
        ...

    @property
    def pooling(self) -> Pooling:
        """How an embedding is made of the tokens', where the target is "none"."""
        ...

    @property
    def normalize(self) -> bool:
        """Whether embeddings are given at length 1."""
        ...

    def logits(self, module: nn.Module, inputs: Batch) -> Tensor:
        """Run a module on the inputs; returns its first output, mostly raw scores (N, C)."""
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
    shared : a folder of the run that its stages share, for what is costly to compute twice (a
        teacher's cached answers); None where there is none.
    seed : of all randomness in the stage.
    device : "cpu" or "cuda", for training and other torch work.
    threads : torch threads.
    progress : where to say how far the work is.
    """

    reference: Artifact
    task: Task
    data: Data
    directory: Path
    shared: Path | None = None
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    progress: Progress = field(default_factory=Silent)
