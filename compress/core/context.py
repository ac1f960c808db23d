"""The context of a stage: everything that it may use besides the artifact it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from compress.core.progress import Progress, Silent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.core.artifact import Artifact, Preprocessor

Split = Literal["train", "validation", "test", "calibration"]
Modality = Literal["image", "text", "tensors"]
"""The kind of a task's samples: images, texts, or arrays by name."""
Target = Literal["class", "class-set", "token-class", "next-token", "none", "own"]
"""The kind of a sample's label. It decides what a batch holds as `labels`:

class : (N,) int64, a class's index; -100 for a sample without a label.
class-set : (N, C) float32 of 0 and 1, C >= 1; a row of -1 for a sample without a label.
token-class : (N, S) int64, a class for each token; -100 for a token without a class.
next-token : (N, S) int64, the tokens themselves, not shifted; -100 on padding.
none : there are no labels.
own : what the task's own `collate` makes, and its own loss and metrics read.
"""
Pooling = Literal["mean", "cls", "max"]
"""The way in which one vector is made from those of a text's tokens: the mean over the unmasked
ones, the first one, or the largest value of each dimension among the unmasked ones."""
Batch = Mapping[str, "Tensor"]
"""Model inputs by name, and the entries that `compress.core.batch` names, all on the CPU."""


class Loader(Protocol):
    """Batches of one split. If it is shuffled, each iteration has the order of the next epoch."""

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """One epoch."""
        ...


class Raw(Protocol):
    """A few samples as the source has them; see `compress.data.raw.RawSamples`."""

    @property
    def kind(self) -> Literal["text", "pair", "words", "image", "prompt", "tensors", "fields"]:
        """The kind of the samples."""
        ...

    @property
    def values(self) -> tuple[Any, ...]:
        """The samples: texts, lists of texts or words, or the bytes of image files."""
        ...


class Data(Protocol):
    """The splits of a run's data."""

    @property
    def fingerprint(self) -> str:
        """Hex digest of the content and of everything that decides which samples a split holds."""
        ...

    def identity(self, split: Split) -> str:
        """Hex digest of what a split's samples and labels are, whatever the other splits hold."""
        ...

    @property
    def labelled(self) -> bool:
        """True if the data has labels of the kind that the task reads."""
        ...

    def size(self, split: Split) -> int:
        """Number of samples in a split."""
        ...

    def raw(self, split: Split, *, limit: int, places: Sequence[int] | None = None) -> Raw:
        """The first samples of a split, or the first of those at `places`, as the source has them,
        before any preprocessing."""
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
    """The task that a model is for."""

    @property
    def name(self) -> str:
        """The task's name, such as "image-classification"."""
        ...

    @property
    def modality(self) -> Modality:
        """The kind of the inputs."""
        ...

    @property
    def auto_class(self) -> str:
        """The class of `transformers` that loads such models; empty if there is none."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the ONNX file's outputs that models are compared by."""
        ...

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of further outputs of the ONNX file, which no comparison reads."""
        ...

    @property
    def pools(self) -> bool:
        """True if a text's embedding is made inside of the graph."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics by which the model's quality can be measured; the first is the default."""
        ...

    @property
    def metrics_without_labels(self) -> tuple[str, ...]:
        """Metrics that can be measured on data without labels."""
        ...

    @property
    def target(self) -> Target:
        """The kind of a sample's label."""
        ...

    @property
    def pooling(self) -> Pooling:
        """The way an embedding is made from those of the tokens, for the target "none"."""
        ...

    @property
    def normalize(self) -> bool:
        """True if embeddings are normalized to length 1."""
        ...

    def logits(self, module: nn.Module, inputs: Batch) -> Tensor:
        """Run a module on the inputs; returns its output, mostly raw scores (N, C). Several outputs
        are joined: see `compress.tasks.outputs.joined`."""
        ...

    def named_outputs(self, module: nn.Module, inputs: Batch) -> dict[str, Tensor]:
        """Run a module on the inputs; returns its outputs by name."""
        ...

    def file_outputs(self, module: nn.Module, inputs: Batch) -> dict[str, Tensor]:
        """Run a module on the inputs; returns all outputs of its ONNX file by name, those of
        `named_outputs` first."""
        ...

    def varying_axes(self, name: str, value: Tensor) -> Mapping[int, str]:
        """The axes of an input, besides the first, whose sizes may vary, by their names."""
        ...

    def default_metric(self, *, labelled: bool = True) -> str:
        """The metric that is used if the recipe names none."""
        ...


@dataclass(frozen=True)
class Context:
    """Everything that one stage of one run may use besides its artifact.

    Attributes
    ----------
    reference : the trained model that the run began with (after a `train` stage: its result).
        It is the teacher of every distillation, and quality and speed are compared with its own.
    task : what the model is for.
    data : the splits train, validation, test and calibration.
    directory : an empty folder of this stage, for files that the returned artifact points to.
    shared : a folder that the run's stages share, for what is costly to compute twice (a teacher's
        cached answers); None if there is none.
    seed : seed of all randomness in the stage.
    device : "cpu" or "cuda", for training and other torch work.
    threads : number of torch threads.
    progress : shows how far the work is.
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
