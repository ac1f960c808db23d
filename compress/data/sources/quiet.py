"""Keeps the progress bars and log lines of other libraries out of the terminal for a while."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("datasets", "huggingface_hub", "transformers", "fsspec")


@contextmanager
def quiet() -> Iterator[None]:
    """Log only errors and draw no progress bars inside the context; restore all at its end."""
    import datasets

    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    bars_were_off = datasets.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not bars_were_off:
            datasets.enable_progress_bars()
