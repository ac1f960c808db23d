"""How a static quantization is calibrated."""

from typing import Literal

from pydantic import Field

from compress.core.stage import Options

CalibrationMethod = Literal["minmax", "entropy", "percentile"]


class Calibration(Options):
    """How the ranges of activations are found, for static quantization."""

    samples: int = Field(default=128, ge=1)
    """First samples of the calibration split that are run through the model."""
    method: CalibrationMethod = "minmax"
    """The whole range seen; the range of least information lost; or a percentile of the values."""
    percentile: float = Field(default=99.99, gt=50, le=100)
    """Part of all values, in percent, that stays in range (method percentile only)."""
