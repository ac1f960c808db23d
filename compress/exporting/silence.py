"""Keeps what the torch exporter says to itself out of the run's output."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def silence() -> Iterator[None]:
    """Hold back prints, Python warnings, and log records up to WARNING; errors still raise.

    Everything that the exporter could warn of is checked on its result instead: dynamic axes in
    `lower`, the answers in `check_parity`.
    """
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
