"""What report.json holds of a process that serves one model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from compress.measurement.results import Count


@dataclass(frozen=True)
class Serving:
    """A process of its own that loads one model and answers with it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", use_attribute_docstrings=True
    )

    memory_bytes: Count
    """Peak resident memory of the process, at the largest batch size that was measured."""
    load_ms: float
    """Time to open the file, until it can be called."""
    joules_per_sample: float | None = None
    """Energy of the whole CPU package for a sample; null where the machine doesn't show RAPL."""
