"""Keeps transformers' progress bars and log lines off the terminal, and collects its warnings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Collect(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        line = " ".join(record.getMessage().split())
        # Left out: the table of missing and unexpected keys, which `judge_keys` judges.
        if "LOAD REPORT" not in line and line not in self._lines:
            self._lines.append(line)


@contextmanager
def quiet_transformers() -> Iterator[list[str]]:
    """Silence progress bars and logging of transformers and its hub client for a while.

    Yields
    ------
    The warnings given meanwhile, one line each. The list grows as they come.
    """
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )
    from transformers.utils import logging as transformers_logging

    lines: list[str] = []
    collect = _Collect(lines)
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    hub_bars = not are_progress_bars_disabled()
    transformers_logging.disable_progress_bar()
    if hub_bars:
        disable_progress_bars()
    for logger in loggers:
        logger.handlers[:] = [collect]
        logger.propagate = False
    try:
        yield lines
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers
            logger.propagate = propagate
        if bars:
            transformers_logging.enable_progress_bar()
        if hub_bars:
            enable_progress_bars()
