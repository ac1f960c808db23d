"""The documents of a query, and how relevant each is. No torch here."""

from __future__ import annotations

import math
from typing import Any

from compress.errors import DataError, clipped
from compress.tasks.texts.checks import require_text


def documents_in(value: Any) -> list[str]:
    """Return a query's documents, one or more.

    Raises
    ------
    DataError : it isn't a list of texts, or one of them is empty.
    """
    if not isinstance(value, list | tuple) or not value:
        raise DataError(
            f"'documents' must be a list of one text or more. Got {clipped(repr(value))}."
        )
    return [require_text(one, "documents") for one in value]


def gains_in(value: Any, documents: list[str]) -> list[float]:
    """Return how relevant each document is, at least 0.

    Parameters
    ----------
    value : a number for each document, 0 for one that isn't relevant; or the number, from 0, of the
        only relevant one.

    Raises
    ------
    DataError : it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(documents):
        return [float(at == value) for at in range(len(documents))]
    if isinstance(value, list | tuple) and len(value) == len(documents):
        plain = all(isinstance(one, int | float) and math.isfinite(one) for one in value)
        if plain and min(value) >= 0:
            return [float(one) for one in value]
    raise DataError(
        f"the label must be a list of {len(documents)} numbers of at least 0, one for each "
        f"document, or the number of the relevant one, from 0 to {len(documents) - 1}. "
        f"Got {clipped(repr(value))}."
    )
