"""Looks at every text of a split before the first batch is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from compress.data.rows import Indices, Values
from compress.data.splits import Samples
from compress.data.texts.encode import Encoding, TextPreprocessor
from compress.errors import DataError, clipped

_CHUNK = 4096
"""Samples looked at together."""


def examined(
    samples: Samples, preprocessor: TextPreprocessor, fields: Mapping[str, str]
) -> tuple[str, ...]:
    """Require that each text has a token; return a note on empty ones.

    A tokenizer that adds special tokens has an answer to an empty text too, so that these are
    noted. Others make no token of it, nor of texts that they strip to nothing.

    Parameters
    ----------
    fields : the data's names of the columns, by ours.

    Raises
    ------
    DataError : a sample holds something else than texts, or no token is made of it. The message
        names the row and the field.
    """
    always = bool(encoded(preprocessor, _blank(fields))[0]["input_ids"])
    empty: dict[str, list[int]] = {}
    for start in range(0, len(samples), _CHUNK):
        positions = np.arange(start, min(start + _CHUNK, len(samples)), dtype=np.int64)
        fetched = samples.fetch(positions)
        if not always:
            require_tokens(encoded(preprocessor, fetched), samples, positions, fields)
        for name in fields:
            rows = [int(samples.indices[positions[at]]) for at in _empty(fetched[name])]
            empty.setdefault(name, []).extend(rows)
    return tuple(
        f"{samples.rows.split}: {len(rows)} of {len(samples)} samples have "
        f"{_what(name)} in {fields[name]!r}; the first is row {min(rows)}."
        for name, rows in empty.items()
        if rows
    )


def require_tokens(
    encodings: Sequence[Encoding],
    samples: Samples,
    positions: Indices,
    fields: Mapping[str, str] | None = None,
) -> None:
    """Refuse a text without a token: its answer would depend on its neighbours' padding.

    Parameters
    ----------
    encodings : of the samples at `positions`.
    fields : the data's names of the columns, by ours; None: they aren't known here.

    Raises
    ------
    DataError : an encoding has no token; the message names the row and the field.
    """
    for at, encoding in enumerate(encodings):
        if not encoding["input_ids"]:
            row = int(samples.indices[positions[at]])
            name, values = next(iter(samples.fetch(positions[at : at + 1]).items()))
            raise DataError(
                f"row {row} of split '{samples.rows.split}': {(fields or {}).get(name, name)!r} "
                f"must give a token. The tokenizer makes no token of {clipped(repr(values[0]))}, "
                "so there is no answer to it. Leave such rows out, or take a tokenizer that adds "
                "special tokens."
            )


def encoded(preprocessor: TextPreprocessor, columns: Mapping[str, Values]) -> list[Encoding]:
    """Token ids of some samples, by our names of their columns."""
    if "tokens" in columns:
        return preprocessor.encode_words(columns["tokens"])[0]
    return preprocessor.encode(columns["text"], columns.get("text_pair"))


def _blank(fields: Mapping[str, str]) -> dict[str, Values]:
    """One sample of texts without a character."""
    return {name: [[""]] if name == "tokens" else [""] for name in fields}


def _what(name: str) -> str:
    return "an empty word, which has no label," if name == "tokens" else "an empty text"


def _empty(values: Values) -> Iterator[int]:
    """Positions of empty texts, and of lists with an empty word."""
    for at, value in enumerate(values):
        texts: Sequence[Any] = [value] if isinstance(value, str) else value
        if not all(text.strip() for text in texts):
            yield at
