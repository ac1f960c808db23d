"""The result of opening any kind of data source."""

from __future__ import annotations

from dataclasses import dataclass

from compress.data.rows import Rows


@dataclass(frozen=True)
class Source:
    """The splits that a source has, under our names.

    Attributes
    ----------
    splits : rows of each split found.
    fingerprint : digest of their content.
    notes : what was left out.
    """

    splits: dict[str, Rows]
    fingerprint: str
    notes: tuple[str, ...] = ()
