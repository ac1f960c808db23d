"""Finds the tokens that texts use, and compares how two tokenizers split the texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from compress.core.context import Task
from compress.core.progress import Progress
from compress.data.dataset import Dataset, open_source
from compress.data.fields.dataset import TaskData, texts_in
from compress.data.fields.other import InputRows, open_inputs
from compress.data.rows import Rows, Values
from compress.data.spec import DataSpec
from compress.data.splits import Samples
from compress.errors import StageError

_TEXTS = 256
"""Texts tokenised at a time."""
_EXCERPT = 80
_TEXTS_OF_FIELDS = "texts"
"""The column of `FieldTexts`."""
Columns = Mapping[str, Values]


class TextPart(NamedTuple):
    """Texts that are read one after another.

    Attributes
    ----------
    name : name of the part, such as "train".
    rows : source of the texts.
    indices : (N,) numbers of the rows.
    """

    name: str
    rows: Rows
    indices: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Texts:
    """All texts whose pieces must stay the same. Memory doesn't grow with them."""

    parts: tuple[TextPart, ...]

    def __len__(self) -> int:
        """Number of samples."""
        return sum(len(part.indices) for part in self.parts)

    def chunks(self, progress: Progress, doing: str) -> Iterator[tuple[TextPart, int, Columns]]:
        """Chunks of samples: (part, position of the chunk's first sample in it, columns)."""
        with progress.track(doing, len(self)) as advance:
            for part in self.parts:
                for start in range(0, len(part.indices), _TEXTS):
                    indices = part.indices[start : start + _TEXTS]
                    yield part, start, part.rows.fetch(indices)
                    advance(len(indices))

    def __str__(self) -> str:
        """The number of samples in each part, such as "train 800, validation 100"."""
        return ", ".join(f"{part.name} {len(part.indices):,}" for part in self.parts)


class Use(NamedTuple):
    """The tokens that texts use.

    Attributes
    ----------
    ids : ids of the tokens that occur.
    unknown : normalised words of texts with an unknown token; empty unless asked for.
    """

    ids: set[int]
    unknown: set[str]


@dataclass(frozen=True)
class FieldTexts:
    """The texts in the inputs of a task on the contract: for each row a list; implements `Rows`.

    A pair of texts, or a list of choices, has the tokens of its texts one by one.
    """

    inputs: InputRows

    @property
    def split(self) -> str:
        """See `Rows`."""
        return self.inputs.split

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """See `Rows`; there are no labels."""
        return None

    def __len__(self) -> int:
        """See `Rows`."""
        return len(self.inputs)

    def fetch(self, indices: npt.NDArray[np.int64]) -> dict[str, Values]:
        """See `Rows`."""
        columns = self.inputs.fetch(indices).values()
        rows = zip(*columns, strict=True)
        return {
            _TEXTS_OF_FIELDS: [[text for each in row for text in texts_in(each)] for row in rows]
        }

    def labels(self) -> Iterator[Values]:
        """See `Rows`; there are no labels."""
        return iter(())


def texts_of(data: Dataset | TaskData, *, extra: DataSpec | None, task: Task) -> Texts:
    """Every text of the data's four splits, and of another source's splits.

    Raises
    ------
    DataError : the other source can't be read.
    """
    parts: list[TextPart] = []
    for name, one in data.splits.items():
        # Calibration is mostly drawn from train; those texts needn't be read twice.
        if not any(_holds(part, one) for part in parts):
            parts.append(TextPart(name, one.rows, one.indices))
    if isinstance(data, TaskData):
        return Texts(tuple(_with_fields(parts, data, extra)))
    if extra is not None:
        columns = extra.columns.model_copy(update={"label": None})
        source = open_source(extra.model_copy(update={"columns": columns}), task)
        parts += _extra(source.splits, extra)
    return Texts(tuple(parts))


def _extra(splits: Mapping[str, Rows], spec: DataSpec) -> Iterator[TextPart]:
    limits: dict[str, int] = {str(name): count for name, count in spec.limit.items()}
    for name, rows in splits.items():
        count = min(limits.get(name, len(rows)), len(rows))
        yield TextPart(f"extra {name}", rows, np.arange(count, dtype=np.int64))


def _with_fields(
    parts: Iterable[TextPart], data: TaskData, extra: DataSpec | None
) -> Iterator[TextPart]:
    inputs = data.fields.inputs
    for part in parts:
        yield part._replace(rows=FieldTexts(InputRows(part.rows, inputs)))
    if extra is not None:
        source = open_inputs(extra, task=data.task, inputs=inputs)
        for part in _extra(source.splits, extra):
            if isinstance(part.rows, InputRows):
                yield part._replace(rows=FieldTexts(part.rows))


def _holds(part: TextPart, samples: Samples) -> bool:
    return part.rows is samples.rows and bool(np.isin(samples.indices, part.indices).all())


def used_tokens(texts: Texts, tokenizer: Any, *, words: bool, progress: Progress) -> Use:
    """The tokens of texts in their full length, special tokens included.

    Parameters
    ----------
    tokenizer : a fast tokenizer of `transformers`.
    words : whether to collect the words of texts with unknown tokens.
    """
    ids: set[int] = set()
    unknown: set[str] = set()
    for _, _, columns in texts.chunks(progress, "reading the data's tokens"):
        for row, encoded in enumerate(whole_ids(tokenizer, columns)):
            ids.update(encoded)
            if words and tokenizer.unk_token_id in encoded:
                unknown |= _words(tokenizer, columns, row)
    return Use(ids, unknown)


def require_same_pieces(
    texts: Texts, old: Any, new: Any, *, original: npt.NDArray[np.int64], progress: Progress
) -> None:
    """Check that two tokenizers split every text into the same pieces.

    Parameters
    ----------
    old, new : tokenizers of `transformers`.
    original : (V,) the old id of each new id.

    Raises
    ------
    StageError : a text is split in another way; the message names it.
    """
    for part, start, columns in texts.chunks(progress, "comparing the data's tokens"):
        before, after = whole_ids(old, columns), whole_ids(new, columns)
        for row, (wanted, got) in enumerate(zip(before, after, strict=True)):
            if original[got].tolist() != wanted:
                text = " ".join(str(values[row]) for values in columns.values())
                raise StageError(
                    f"with fewer tokens, {type(old).__name__} makes other pieces of row "
                    f"{start + row} of '{part.name}' ({text[:_EXCERPT]!r}): "
                    f"{new.convert_ids_to_tokens(got)[:12]} instead of "
                    f"{old.convert_ids_to_tokens(wanted)[:12]}."
                )


def whole_ids(tokenizer: Any, columns: Columns) -> list[list[int]]:
    """Token ids of samples in their full length."""
    if _TEXTS_OF_FIELDS in columns:
        return _ids_one_by_one(tokenizer, columns[_TEXTS_OF_FIELDS])
    words = columns.get("tokens")
    first = columns["text"] if words is None else [list(of_one) for of_one in words]
    pairs = columns.get("text_pair")
    encoded = tokenizer(
        list(first),
        None if pairs is None else list(pairs),
        is_split_into_words=words is not None,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def _ids_one_by_one(tokenizer: Any, rows: Values) -> list[list[int]]:
    """Of each row the ids of its texts, one after another."""
    ids = iter(whole_ids(tokenizer, {"text": [text for texts in rows for text in texts]}))
    return [[number for _ in texts for number in next(ids)] for texts in rows]


def _words(tokenizer: Any, columns: Columns, row: int) -> set[str]:
    """The words of one sample as the tokenizer's model gets them."""
    backend = tokenizer.backend_tokenizer
    found: set[str] = set()
    for values in columns.values():
        parts = [values[row]] if isinstance(values[row], str) else values[row]
        for part in parts:
            normal = backend.normalizer.normalize_str(part) if backend.normalizer else part
            split = backend.pre_tokenizer
            found |= {word for word, _ in split.pre_tokenize_str(normal)} if split else {normal}
    return found
