"""A run's data, ready to be cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compress.core.artifact import Preprocessor
from compress.core.context import Split, Target, Task
from compress.data.fields.dataset import TaskData, task_data
from compress.data.fingerprint import digest
from compress.data.images.transform import ImagePreprocessor
from compress.data.labels.encode import encode_labels
from compress.data.loader import BatchLoader
from compress.data.raw import RawSamples, raw_samples
from compress.data.rows import input_columns, label_column
from compress.data.sources.array_files import open_arrays
from compress.data.sources.arrays import open_digits, open_idx
from compress.data.sources.beir import open_beir
from compress.data.sources.functions import open_python
from compress.data.sources.huggingface import open_huggingface
from compress.data.sources.source import Source
from compress.data.spec import IMAGE_SOURCES, DataSpec
from compress.data.splits import Samples, complete, content, identity
from compress.data.texts.blocks import cut_blocks
from compress.data.texts.corpus import TextsOfCorpus
from compress.data.texts.encode import TextPreprocessor
from compress.data.texts.examined import examined
from compress.data.texts.pairs import pairs_of, texts_of_pairs
from compress.errors import DataError
from compress.tasks.contract import Task as OwnTask

_TEXTS = 1024
_OF_JUDGED = {"text": "text", "text_pair": "text"}
"""Fields of queries and documents in the files of BEIR."""


@dataclass(frozen=True)
class Dataset:
    """The four splits; implements `compress.core.context.Data`.

    Attributes
    ----------
    splits : samples of each split. For the target "next-token" they are texts, which the loader
        cuts into blocks of tokens.
    labels : class names in the order of the label indices.
    fingerprint : hex digest of the content and of everything that decides which samples a split
        holds.
    notes : what was carved, limited, left out or decided, and why.
    target : the kind of a sample's label.
    labelled : whether the data has a column of labels that the task reads.
    fields : the data's names of the input columns, by ours.
    preprocessor : makes the blocks of tokens, for the target "next-token"; see `bound`.
    content : hex digest of what all rows hold.
    """

    splits: dict[str, Samples]
    labels: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    target: Target = "class"
    labelled: bool = True
    fields: Mapping[str, str] = field(default_factory=dict)
    preprocessor: Preprocessor | None = None
    content: str = ""
    _blocks: dict[tuple[str, str], Samples] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def bound(self, preprocessor: Preprocessor) -> Dataset:
        """The same data, bound to a preprocessor, which decides the number of blocks of tokens.

        Raises
        ------
        DataError : a sample isn't a text, or no token is made of it.
        """
        if self.target != "next-token":
            return replace(self, notes=(*self.notes, *self._examined(preprocessor)))
        fingerprint = digest([self.fingerprint, preprocessor.fingerprint])
        return replace(self, preprocessor=preprocessor, fingerprint=fingerprint)

    def _examined(self, preprocessor: Preprocessor) -> Iterator[str]:
        """Notes on the texts of each split; calibration that is drawn from train is in it."""
        if not isinstance(preprocessor, TextPreprocessor):
            return
        train = self.splits["train"].rows
        for split, samples in self.splits.items():
            if split != "calibration" or samples.rows is not train:
                alone = isinstance(samples.rows, TextsOfCorpus)
                fields = {"text": self.fields["text"]} if alone else self.fields
                yield from examined(pairs_of(samples), preprocessor, fields)

    def size(self, split: Split) -> int:
        """Number of samples in a split. Texts that are cut into blocks are counted in blocks.

        Raises
        ------
        TypeError : the number depends on a preprocessor, and the data isn't `bound` to one.
        """
        if self.target != "next-token":
            return len(self.splits[split])
        if self.preprocessor is None:
            raise TypeError("the size of a split in blocks of tokens depends on a preprocessor.")
        return len(self._samples(split, _known(self.preprocessor)))

    def identity(self, split: Split) -> str:
        """See `compress.core.context.Data`. Blocks of tokens are those of the preprocessor."""
        blocks = [] if self.preprocessor is None else [self.preprocessor.fingerprint]
        return identity(self.splits[split], self.content, *blocks)

    def texts(self, split: Split) -> Iterator[str]:
        """The texts of a split, one after another; words are joined by spaces."""
        samples = self.splits[split]
        for start in range(0, len(samples), _TEXTS):
            stop = min(start + _TEXTS, len(samples))
            fetched = samples.fetch(np.arange(start, stop, dtype=np.int64))
            if "tokens" in fetched:
                yield from (" ".join(words) for words in fetched["tokens"])
            else:
                yield from fetched["text"]
                yield from fetched.get("text_pair", ())

    def raw(self, split: Split, *, limit: int, places: Sequence[int] | None = None) -> RawSamples:
        """See `compress.core.context.Data.raw`.

        Raises
        ------
        DataError : a sample can't be read.
        """
        generates = self.target == "next-token"
        samples = self.splits[split]
        if places is not None:
            samples = samples.take(np.array(places, dtype=np.int64))
        return raw_samples(samples, limit=limit, generates=generates)

    def loader(
        self,
        split: Split,
        preprocessor: Preprocessor,
        *,
        batch_size: int,
        shuffle_seed: int | None = None,
        limit: int | None = None,
        fixed_length: bool = False,
        sample_ids: bool = False,
    ) -> BatchLoader:
        """Batches of a split: see `compress.core.context.Data.loader`."""
        known = _known(preprocessor)
        samples = self._samples(split, known)
        if limit is not None and limit < len(samples):
            samples = samples.take(np.arange(limit, dtype=np.int64))
        return BatchLoader(
            samples,
            known,
            target=self.target,
            batch_size=batch_size,
            shuffle_seed=shuffle_seed,
            fixed_length=fixed_length,
            sample_ids=sample_ids,
        )

    def _samples(self, split: Split, preprocessor: TextPreprocessor | ImagePreprocessor) -> Samples:
        """The samples that the loader cuts into batches. Blocks of tokens are made once."""
        samples = self.splits[split]
        if self.target != "next-token" or not isinstance(preprocessor, TextPreprocessor):
            return samples
        key = (split, preprocessor.fingerprint)
        if key not in self._blocks:
            self._blocks[key] = cut_blocks(samples, preprocessor)
        return self._blocks[key]


def _known(preprocessor: Preprocessor) -> TextPreprocessor | ImagePreprocessor:
    if not isinstance(preprocessor, TextPreprocessor | ImagePreprocessor):
        raise TypeError(
            "the preprocessor must be a TextPreprocessor or an ImagePreprocessor. "
            f"Got {type(preprocessor).__name__}."
        )
    return preprocessor


def load_data(
    spec: DataSpec, *, task: Task, labels: tuple[str, ...], seed: int
) -> Dataset | TaskData:
    """Open the data that a recipe names, and make its four splits.

    Parameters
    ----------
    labels : the model's class names; empty: those found in the data.
    seed : seed by which missing splits are carved.

    Raises
    ------
    DataError : the data is missing, broken or empty, lacks a column, or has labels that the model
        doesn't know. The message names the split, and the row if there is one.
    """
    source = open_source(spec, task)
    for split, rows in source.splits.items():
        if not len(rows):
            raise DataError(f"split '{split}' is empty.")
    if isinstance(task, OwnTask):
        return task_data(source, spec, task=task, labels=labels, seed=seed)
    judged = spec.beir is not None
    fields = _OF_JUDGED if judged else input_columns(spec.columns, task)
    paired = task.target == "none" and "text_pair" in fields
    scored = judged or label_column(spec.columns, task) is not None
    labelled = scored or paired
    encoded = encode_labels(
        list(source.splits.values()), labels, target=task.target, labelled=labelled
    )
    splits, notes = complete(source.splits, encoded.targets, spec, seed)
    if paired:
        splits = {name: texts_of_pairs(one, scored=scored) for name, one in splits.items()}
    held = digest([source.fingerprint, "texts of pairs"]) if paired else source.fingerprint
    decides = spec.model_dump(
        mode="json",
        include={
            "columns", "splits", "limit",
            "validation_fraction", "test_fraction", "calibration_samples",
        },
    )  # fmt: skip
    return Dataset(
        splits,
        encoded.labels,
        digest([held, decides, list(encoded.labels), seed]),
        (*source.notes, *encoded.notes, *notes),
        target=task.target,
        labelled=labelled,
        fields=fields,
        content=content(held, spec),
    )


def open_source(spec: DataSpec, task: Task) -> Source:
    """The splits that the data has, before labels are read and missing splits carved.

    Raises
    ------
    DataError : the data is missing or broken, lacks a column, or isn't of the task's kind.
    """
    if spec.source in IMAGE_SOURCES and task.modality != "image":
        raise DataError(f"'{spec.source}' holds images; the task needs {task.modality}.")
    if spec.arrays is not None:
        if task.target != "own":
            raise DataError(f"'arrays' holds tensors; {task.name} needs {task.modality}s.")
        return open_arrays(spec.arrays, spec)
    if spec.beir is not None:
        if task.target != "none":
            raise DataError(f"'beir' holds texts to be embedded; {task.name} needs samples.")
        return open_beir(spec.beir, spec)
    if spec.idx is not None:
        return open_idx(spec.idx, spec)
    if spec.sklearn is not None:
        return open_digits()
    if spec.python is not None:
        return open_python(spec.python, spec, task)
    if spec.huggingface is not None:
        return open_huggingface(spec.huggingface, spec, task)
    raise DataError("no source of data is named.")
