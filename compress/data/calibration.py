"""How many samples of the calibration split a stage looks at. No torch here."""

from pydantic import Field

from compress.core.bounds import MOST_SAMPLES, MOST_SAMPLES_AT_ONCE
from compress.core.options import Options


class Calibration(Options):
    """Samples of the calibration split that are run through the model."""

    samples: int = Field(default=256, ge=1, le=MOST_SAMPLES)
    """How many, at most all that the data holds ready (`data.calibration_samples`)."""
    batch_size: int = Field(default=32, ge=1, le=MOST_SAMPLES_AT_ONCE)
    """How many at once; it changes memory and time, not the result. Of text generation fewer are
    taken where answers a vocabulary wide would fill the memory."""
