"""The recipe's `measure` keys: what is measured of a model, and how long."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from compress.core.bounds import MOST_SAMPLES, MOST_SAMPLES_AT_ONCE
from compress.core.options import Options
from compress.errors import expected
from compress.measurement.generation.spec import GenerationSpec
from compress.measurement.runtimes.names import ONNXRUNTIME, Runtime, missing


def _each_once(batch_sizes: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(batch_sizes)) != len(batch_sizes):
        allowed = "a list of different whole numbers of at least 1"
        raise ValueError(expected("batch_sizes", allowed, list(batch_sizes)))
    return batch_sizes


def _with_onnxruntime(runtimes: tuple[Runtime, ...]) -> tuple[Runtime, ...]:
    if ONNXRUNTIME not in runtimes or len(set(runtimes)) != len(runtimes):
        allowed = "a list of different runtimes with onnxruntime among them"
        raise ValueError(expected("runtimes", allowed, list(runtimes)))
    return runtimes


BatchSizes = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MOST_SAMPLES_AT_ONCE)], ...],
    Field(min_length=1, max_length=64),
    AfterValidator(_each_once),
]
"""A list of different batch sizes."""


class OwnMetric(Options):
    """A metric of the user's own."""

    python: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    """A function "package.module:function" of (outputs, labels), arrays of all samples by name; a
    single label is called "labels". It returns a number. Or a `compress.TaskMetric`. Either may lie
    in the current directory."""
    higher_is_better: bool = True
    """Whether higher values are better; a `TaskMetric` says so itself."""

    @property
    def name(self) -> str:
        """The function's name, which is the metric's in the report."""
        return self.python.partition(":")[2]


class MeasureSpec(Options):
    """Options of the measurements: quality on the test split, latency by batch size, generation."""

    metric: str | OwnMetric | None = None
    """Quality metric, such as accuracy or f1_macro, or one of the user's own; null: the task's
    default."""
    batch_sizes: BatchSizes = (1, 32)
    """Batch sizes whose latency is measured, each once."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Number of ONNX Runtime's threads in an operator. The process is pinned to as many CPUs."""
    rounds: int = Field(default=12, ge=5, le=1000)
    """Smallest number of rounds for a batch size, in six sittings. A round runs every model once.
    More rounds follow within `seconds`. Generation has at least five, with a step for every
    token."""
    warmup: int = Field(default=3, ge=1, le=100)
    """Largest number of rounds at the beginning of a sitting that aren't counted. Slow ones end
    after 0.1 s."""
    seconds: float = Field(default=10.0, gt=0, le=3600)
    """Most time for a batch size, and for generation, in seconds. After it no further round begins,
    except for the smallest number."""
    precision: float = Field(default=0.02, ge=0, le=1)
    """Rounds end before `seconds` are over when the 95 % interval of each speedup is no wider than
    this fraction to either side; 0: never."""
    samples: int | None = Field(default=None, ge=1, le=MOST_SAMPLES)
    """Number of the test split's first samples by which quality is measured; null: all."""
    baseline: Literal["auto"] | None = "auto"
    """`auto` trains a rival of the report's models in at most a minute: a linear model on the train
    split for classes of texts, of images of at most 64 pixels in height and width, and of tensors;
    BM25 where documents are found for queries. Null: none."""
    runtimes: Annotated[tuple[Runtime, ...], AfterValidator(_with_onnxruntime)] = (ONNXRUNTIME,)
    """Runtimes in which each row is timed; quality is ONNX Runtime's. `openvino` needs the extra
    `compress[openvino]`."""
    from_text: bool = False
    """Time each row from a text to its answer too, the tokenizer included, at each batch size; for
    classes of texts and of pairs of texts. Fast models spend most of that time on the tokenizer."""
    generation: GenerationSpec | None = None
    """Lengths of the text with which generation is timed, for the task text-generation only; null
    for its defaults."""

    def problem(self) -> str | None:
        """Return what to install for the runtimes, as part of a sentence; None for nothing."""
        others = [name for name in self.runtimes if name != ONNXRUNTIME]
        return missing(others)
