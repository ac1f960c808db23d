"""Makes batches of texts and of their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compress.core.batch import LABELS, about_key, labels_in, labels_key
from compress.data.texts.encode import TextPreprocessor
from compress.errors import DataError, clipped
from compress.tasks.contract import WINDOW
from compress.tasks.texts.choices import choices_in, right_choice
from compress.tasks.texts.documents import documents_in, gains_in

if TYPE_CHECKING:
    from compress.core.artifact import Preprocessor

    Samples = Sequence[Mapping[str, Any]]


def of_texts(preprocessor: Preprocessor | None) -> TextPreprocessor:
    """Return a preprocessor that makes token ids of texts.

    Raises
    ------
    TypeError : it is another one.
    """
    if not isinstance(preprocessor, TextPreprocessor):
        raise TypeError(f"texts need a TextPreprocessor. Got {type(preprocessor).__name__}.")
    return preprocessor


def encoded_texts(
    samples: Samples, preprocessor: Preprocessor | None, *, fixed_length: bool
) -> dict[str, Tensor]:
    """Return the inputs (N, S) of the samples' texts, or of their pairs of texts."""
    texts = [str(sample["text"]) for sample in samples]
    paired = "text_pair" in samples[0]
    pairs = [str(sample["text_pair"]) for sample in samples] if paired else None
    return of_texts(preprocessor)(texts, pairs, fixed_length=fixed_length)


def choice_batch(
    samples: Samples, preprocessor: Preprocessor | None, *, fixed_length: bool
) -> dict[str, Tensor]:
    """Return the batch of `MultipleChoice.collate`."""
    choices = [choices_in(sample["choices"]) for sample in samples]
    most = max(map(len, choices))
    filled = [[*given, *given[:1] * (most - len(given))] for given in choices]
    batch = of_texts(preprocessor)(
        [str(sample["question"]) for sample in samples for _ in range(most)],
        [choice for given in filled for choice in given],
        fixed_length=fixed_length,
    )
    batch = {name: value.reshape(len(samples), most, -1) for name, value in batch.items()}
    batch[about_key("choices")] = torch.tensor([len(given) for given in choices])
    if LABELS in samples[0]:
        each = zip(samples, choices, strict=True)
        right = [right_choice(sample[LABELS], given) for sample, given in each]
        batch[LABELS] = torch.tensor(right)
    return batch


def ranking_batch(
    samples: Samples, preprocessor: Preprocessor | None, *, key: str, fixed_length: bool
) -> dict[str, Tensor]:
    """Return the batch of `TextRanking.collate`; `key` names the places of queries in it."""
    at = [int(sample.get(WINDOW, 0)) for sample in samples]
    documents = [documents_in(sample["documents"]) for sample in samples]
    queries = [str(sample["query"]) for sample in samples]
    batch = of_texts(preprocessor)(
        queries,
        [given[number] for given, number in zip(documents, at, strict=True)],
        fixed_length=fixed_length,
    )
    batch[key] = torch.tensor(_groups(queries, at))
    if LABELS in samples[0]:
        each = zip(samples, documents, at, strict=True)
        gains = [gains_in(sample[LABELS], given)[number] for sample, given, number in each]
        batch[LABELS] = torch.tensor(gains, dtype=torch.float32)
    return batch


def _groups(queries: Sequence[str], windows: Sequence[int]) -> list[int]:
    """For each pair the place of the first one of its sample; windows of a sample follow one
    another."""
    places: list[int] = []
    for place, (query, window) in enumerate(zip(queries, windows, strict=True)):
        goes_on = place and query == queries[place - 1] and window > windows[place - 1]
        places.append(places[-1] if goes_on else place)
    return places


def label_numbers(samples: Samples) -> dict[str, Tensor]:
    """Return the samples' labels as float32, (N,) or (N, K); nothing if there are none."""
    keys = [name if name == LABELS else labels_key(name) for name in labels_in(samples[0])]
    return {key: numbers([sample[key] for sample in samples], key) for key in keys}


def numbers(values: Sequence[Any], name: str) -> Tensor:
    """Return labels that are numbers, or lists of equally many, as float32.

    Raises
    ------
    DataError : a value is something else.
    """
    try:
        found = np.asarray(values)
    except ValueError:  # lists of different lengths
        found = np.asarray(None)
    if found.dtype.kind not in "fiu" or found.ndim not in (1, 2) or np.isinf(found).any():
        given = clipped(repr(values[0] if len(values) == 1 else list(values)))
        raise DataError(f"{name!r} must be a number, or a list of equally many. Got {given}.")
    return torch.from_numpy(np.ascontiguousarray(found, np.float32))
