"""How the latency of a target is measured. No torch here."""

from pydantic import Field

from compress.core.bounds import MOST_SAMPLES_AT_ONCE
from compress.core.options import Options


class LatencyOptions(Options):
    """Of the calls whose latency a target means."""

    batch_size: int = Field(default=1, ge=1, le=MOST_SAMPLES_AT_ONCE)
    """Samples in a call."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Threads of ONNX Runtime within an operator; the process is pinned to as many CPUs."""
