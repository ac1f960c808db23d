"""Encodes labels of the data as indices into the model's labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.core.context import Target
from compress.data.labels.listed import encode_sets, encode_tags, found_in_lists
from compress.data.labels.named import Names, encode_values, found_names
from compress.data.labels.targets import Targets, no_targets
from compress.data.rows import Rows

_GENERIC = re.compile(r"LABEL_\d+")
_BY_NUMBER = "labels: the model's are generic (LABEL_0 …), so the data's are taken by number."


@dataclass(frozen=True)
class Encoded:
    """The labels of every split as indices.

    Attributes
    ----------
    labels : class names in the order of the indices: the model's, or those found in the data.
    targets : encoded labels of each split.
    notes : what was decided.
    """

    labels: tuple[str, ...]
    targets: dict[str, Targets]
    notes: tuple[str, ...]


def encode_labels(
    splits: Sequence[Rows],
    labels: tuple[str, ...],
    *,
    target: Target = "class",
    labelled: bool = True,
) -> Encoded:
    """Encode the labels of all splits.

    A name becomes its index in `labels`. An integer is an index already, unless the data names its
    integers and `labels` knows these names. Without `labels` (a model that has none) the classes
    are the data's own names; without those, the names found, sorted; without names, 0 to the
    largest integer.

    Parameters
    ----------
    target : the kind of a sample's label.
    labelled : whether there is a column of labels.

    Raises
    ------
    DataError : a label isn't among `labels`, is missing, or is neither a name nor an integer (for
        targets that need lists: isn't a list of these). The message names split and row.
    """
    if not labelled or target in ("next-token", "none"):
        return Encoded(
            labels,
            {
                rows.split: no_targets(len(rows), target=target, classes=len(labels))
                for rows in splits
            },
            () if target in ("next-token", "none") else ("labels: the data has none.",),
        )
    notes: tuple[str, ...] = ()
    if not labels:
        labels = _found(splits, target)
        notes = (f"labels: the model has none; {len(labels)} found in the data.",)
    targets = {}
    for rows in splits:
        targets[rows.split], more = _encode_split(rows, labels, target)
        notes += tuple(note for note in more if note not in notes)
    return Encoded(labels, targets, notes)


def _encode_split(
    rows: Rows, labels: tuple[str, ...], target: Target
) -> tuple[Targets, tuple[str, ...]]:
    given = rows.label_names
    notes: tuple[str, ...] = ()
    generic = all(_GENERIC.fullmatch(label) for label in labels)
    if given is not None and generic and given != labels:
        given, notes = None, (_BY_NUMBER,)
    names = Names(rows.split, given, {label: index for index, label in enumerate(labels)})
    if target == "class-set":
        return encode_sets(rows, names), notes
    if target == "token-class":
        return encode_tags(rows, names), notes
    chunks: list[npt.NDArray[np.int64]] = []
    row = 0
    for values in rows.labels():
        chunks.append(encode_values(values, range(row, row + len(values)), names))
        row += len(values)
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int64), notes


def _found(splits: Sequence[Rows], target: Target) -> tuple[str, ...]:
    for rows in splits:
        if rows.label_names is not None:
            return rows.label_names
    if target in ("class-set", "token-class"):
        return found_in_lists(splits, sets=target == "class-set")
    return found_names(_scalars(splits))


def _scalars(splits: Sequence[Rows]) -> Iterable[tuple[str, Iterable[int], Any]]:
    for rows in splits:
        row = 0
        for values in rows.labels():
            yield rows.split, range(row, row + len(values)), values
            row += len(values)
