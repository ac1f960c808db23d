"""Folders as BEIR has them (Thakur et al., 2021): a corpus, queries, and judgements (qrels).

corpus.jsonl        {"_id": "d1", "title": "…", "text": "…"}
queries.jsonl       {"_id": "q1", "text": "…"}
qrels/test.tsv      query-id, corpus-id and score, with tabs between; a header line
qrels/train.tsv     the same, and dev.tsv, if there are any
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.foreign.boundary import reading
from compress.data.fingerprint import digest, digest_file
from compress.data.rows import LABEL_CHUNK, Indices, Rows, Values
from compress.data.sources.functions import choose_splits, unused_note
from compress.data.sources.json_lines import JsonLines, scan
from compress.data.sources.source import Source
from compress.data.texts.corpus import texts_of_corpus
from compress.errors import DataError, clipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compress.data.spec import DataSpec

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_TEST = "test"


@dataclass(frozen=True, eq=False)
class TextFile:
    """The texts of a corpus or of queries, and the rows of those that judgements name."""

    lines: JsonLines
    rows: Mapping[str, int]

    def read(self, rows: Sequence[int]) -> list[str]:
        """Return texts: title and text with a space between, as BEIR joins them."""
        found = []
        for row, record in zip(rows, self.lines.read(rows), strict=True):
            parts = [record.get("title", ""), record.get("text")]
            if not all(isinstance(part, str) for part in parts):
                raise DataError(
                    f"record {row + 1} of {clipped(str(self.lines.path))}: 'text' must be a text. "
                    f"Got {clipped(repr(record))}."
                )
            found.append(" ".join(filter(None, map(str, parts))))
        return found


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """A query and a judged document in each row, with the judgement as the label."""

    split: str
    relations: Sequence[tuple[int, int, float]]
    queries: TextFile
    corpus: TextFile
    label_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """See `Rows`."""
        return len(self.relations)

    def fetch(self, indices: Indices) -> dict[str, Values]:
        """See `Rows`."""
        chosen = [self.relations[int(index)] for index in indices]
        return {
            "text": self.queries.read([query for query, _, _ in chosen]),
            "text_pair": self.corpus.read([document for _, document, _ in chosen]),
        }

    def labels(self) -> Iterator[Values]:
        """See `Rows`; the judgements, at least 0."""
        for start in range(0, len(self), LABEL_CHUNK):
            yield [max(gain, 0.0) for _, _, gain in self.relations[start : start + LABEL_CHUNK]]


def open_beir(folder: Path, spec: DataSpec) -> Source:
    """The splits of a folder. Queries of the test split search the whole corpus.

    Judged pairs are the train and validation splits. Without judgements to train on, the train
    split is every document, and every query that the test split doesn't have.

    Raises
    ------
    DataError : a file is missing or damaged, or there are no judgements of a test split.
    """
    names = _splits(folder, spec)
    judged = {ours: _judgements(folder / QRELS / f"{theirs}.tsv") for ours, theirs in names.items()}
    every = [pair for pairs in judged.values() for pair in pairs]
    queries = _texts(folder / QUERIES, {query for query, _, _ in every})
    corpus = _texts(folder / CORPUS, {document for _, document, _ in every})
    known, notes = {}, []
    for split, pairs in judged.items():
        known[split] = [
            (queries.rows[query], corpus.rows[document], gain)
            for query, document, gain in pairs
            if query in queries.rows and document in corpus.rows
        ]
        if lost := len(pairs) - len(known[split]):
            notes.append(
                f"{split}: {lost} of {len(pairs)} judgements name texts that {QUERIES} or "
                f"{CORPUS} lacks."
            )
    relevant = [pair for pair in known[_TEST] if pair[2] > 0]
    if not relevant:
        raise DataError(f"no document is relevant to a query of {folder / QRELS}/{names[_TEST]}.")
    splits: dict[str, Rows] = {
        split: JudgedPairs(split, pairs, queries, corpus)
        for split, pairs in known.items()
        if split != _TEST
    }
    common: dict[str, Any] = {
        "documents": len(corpus.lines),
        "read_queries": queries.read,
        "read_documents": corpus.read,
    }
    splits[_TEST] = texts_of_corpus(_TEST, relevant, queries=(), **common)
    if "train" not in splits:
        others = np.setdiff1d(np.arange(len(queries.lines)), [query for query, _, _ in relevant])
        splits["train"] = texts_of_corpus("train", (), queries=others.tolist(), **common)
        notes.append(
            f"train: {len(corpus.lines):,} documents and {len(others):,} queries, of which no "
            "judgements are known."
        )
    files = [folder / QUERIES, folder / CORPUS]
    files += [folder / QRELS / f"{theirs}.tsv" for theirs in names.values()]
    with reading(folder, error=DataError):
        content = digest([sorted(names.items()), [digest_file(file) for file in files]])
        found = {path.stem: path for path in sorted((folder / QRELS).glob("*.tsv"))}
    return Source(splits, content, (*notes, *unused_note(found, names)))


def _splits(folder: Path, spec: DataSpec) -> dict[str, str]:
    """Names of the judgements, by our names of splits."""
    with reading(folder, error=DataError):
        available = sorted(path.stem for path in (folder / QRELS).glob("*.tsv"))
    if spec.splits is not None:
        names = choose_splits(available, spec.splits)
    else:
        names = {ours: theirs for ours, theirs in _SPLITS.items() if theirs in available}
    if _TEST not in names:
        raise DataError(
            f"'{folder / QRELS}' has no test.tsv. Found: {', '.join(available) or 'none'}. Say "
            "which it is with 'splits', such as {test: dev}."
        )
    return names


def _judgements(path: Path) -> list[tuple[str, str, float]]:
    """The ids of each query and document that were judged, and how relevant the document is."""
    found = []
    with reading(path, error=DataError), path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            cells = line.rstrip("\r\n").split("\t")
            if number == 1 and cells[-1] == "score":
                continue
            gain = _number(cells[-1])
            if len(cells) != 3 or gain is None:
                raise DataError(
                    f"line {number} of {clipped(str(path))} must be the ids of a query and of a "
                    f"document, and a number, with tabs between. Got {clipped(repr(line))}."
                )
            found.append((cells[0], cells[1], gain))
    return found


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _texts(path: Path, wanted: set[str]) -> TextFile:
    """The places of a file's records, and the rows of those that are wanted."""
    offsets, rows = [], {}
    with reading(path, error=DataError):
        for row, (offset, record) in enumerate(scan(path)):
            offsets.append(offset)
            name = record.get("_id")
            if not isinstance(name, str):
                raise DataError(
                    f"record {row + 1} of {clipped(str(path))}: '_id' must be a text. "
                    f"Got {clipped(repr(name))}."
                )
            if name in wanted:
                if name in rows:
                    raise DataError(f"{clipped(str(path))} has two records {clipped(repr(name))}.")
                rows[name] = row
    if not offsets:
        raise DataError(f"{clipped(str(path))} is empty.")
    return TextFile(JsonLines(path, np.array(offsets, np.int64)), rows)
