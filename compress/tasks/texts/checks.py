"""What samples of texts must be. No torch here."""

from __future__ import annotations

from compress.errors import DataError, clipped


def require_text(value: object, name: str) -> str:
    """Return a field's text.

    Raises
    ------
    DataError : it isn't a string, is empty or blank, or holds half a surrogate pair.
    """
    if not isinstance(value, str) or not value.strip():
        given = "nothing" if value is None else clipped(repr(value))
        raise DataError(f"{name!r} must be a text that isn't empty. Got {given}.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name!r} must be valid Unicode. Got half a surrogate pair at character {error.start}."
        ) from error
    return value
