"""Keeps messages of the torch exporter out of the run's output."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def silence() -> Iterator[None]:
    """Suppress prints, Python warnings, and log records up to WARNING; errors still raise.

    The result is checked instead: dynamic axes in `export_module`, answers in `check_parity`.
    """
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
