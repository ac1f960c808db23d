"""Options of calibration: how many samples a stage runs through the model. No torch here."""

from pydantic import Field

from compress.core.bounds import MOST_SAMPLES, MOST_SAMPLES_AT_ONCE
from compress.core.options import Options


class Calibration(Options):
    """The samples of the calibration split that are run through the model."""

    samples: int = Field(default=256, ge=1, le=MOST_SAMPLES)
    """Number of samples; at most the whole split is used (`data.calibration_samples`)."""
    batch_size: int = Field(default=32, ge=1, le=MOST_SAMPLES_AT_ONCE)
    """Samples in a batch. It changes memory and time, not the result. For text generation the
    batches are smaller if scores over the whole vocabulary would fill the memory."""
