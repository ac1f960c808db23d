"""Options that decide how INT8 models are made and chosen. No torch and no onnx here."""

from typing import Literal

from pydantic import Field

from compress.core.bounds import MOST_SAMPLES
from compress.core.options import Options
from compress.measurement.generation.spec import GenerationSpec
from compress.measurement.spec import BatchSizes

CalibrationMethod = Literal["minmax", "moving_average", "percentile", "entropy", "mse"]
METHODS: tuple[CalibrationMethod, ...] = (
    "minmax",
    "mse",
    "percentile",
    "entropy",
    "moving_average",
)
"""The methods in the order in which `method: null` tries them; among equals the first is kept."""


class Calibration(Options):
    """Options of the calibration of activation ranges, for static quantization."""

    samples: int = Field(default=128, ge=1, le=MOST_SAMPLES)
    """First samples of the calibration split that are run through the model."""
    method: CalibrationMethod | None = None
    """`minmax` takes the whole range seen, `moving_average` the mean of each sample's extremes,
    `percentile` a percentile of the values, `entropy` the range that loses least information, and
    `mse` the range of least squared error. Null tries all of them and keeps the most accurate."""
    percentile: float = Field(default=99.99, gt=50, le=100)
    """Percentage of all values that stays in range (method `percentile` only)."""


class EvaluationOptions(Options):
    """Options of the comparison of candidates with the float model and with one another."""

    samples: int = Field(default=2000, ge=16, le=MOST_SAMPLES)
    """First samples of the validation split on which quality is measured."""
    batch_sizes: BatchSizes = (1, 32)
    """Batch sizes whose speedups count, by their geometric mean. For text generation the speedups
    of reading a prompt and of decoding count in their place."""
    generation: GenerationSpec | None = None
    """Lengths of the text with which candidates are timed, for the task text-generation only; null
    for its defaults, which are those of `measure.generation`."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Threads of ONNX Runtime; on one thread only the thread's own time counts."""
    rounds: int = Field(default=20, ge=5, le=1000)
    """Least number of rounds for each batch size; a round runs every candidate once. Five for
    generation, where each round holds a step for every token."""
    seconds: float = Field(default=2.0, gt=0, le=3600)
    """Time for each batch size, or for generation, after which no further round begins."""
