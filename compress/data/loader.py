"""Cuts one split into batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from compress.core.batch import IGNORED, LABELS, PAIRS, SAMPLE_IDS
from compress.core.context import Target
from compress.data.images.transform import ImagePreprocessor
from compress.data.labels.targets import Tags, Targets
from compress.data.rows import Indices
from compress.data.splits import Samples
from compress.data.texts.encode import Encoding, TextPreprocessor, Words
from compress.data.texts.examined import require_tokens
from compress.data.texts.pairs import TextsOfPairs, of_pairs

POOL = 50
"""Number of batches whose texts are tokenised together and sorted by length before the cut."""


class BatchLoader:
    """Implements `compress.core.context.Loader`.

    Each epoch has its own order, which `shuffle_seed` and `epoch` alone decide. Batches are made
    during the iteration, so memory doesn't grow with the split.

    Attributes
    ----------
    epoch : number of the next epoch; each iteration adds one.
    """

    def __init__(
        self,
        samples: Samples,
        preprocessor: TextPreprocessor | ImagePreprocessor,
        *,
        target: Target = "class",
        batch_size: int,
        shuffle_seed: int | None = None,
        fixed_length: bool = False,
        sample_ids: bool = False,
    ) -> None:
        self.samples = samples
        self.preprocessor = preprocessor
        self.target = target
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.fixed_length = fixed_length
        self.sample_ids = sample_ids
        self.epoch = 0

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-len(self.samples) // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """One epoch. An incomplete batch comes last."""
        order = np.arange(len(self.samples), dtype=np.int64)
        random = None
        if self.shuffle_seed is not None:
            random = np.random.default_rng((self.shuffle_seed, self.epoch))
            if self._of_pairs:  # stay side by side, for losses that compare them
                order = _both(random.permutation(-(-len(order) // 2)), below=len(order))
            else:
                random.shuffle(order)
        self.epoch += 1
        if isinstance(self.preprocessor, TextPreprocessor):
            return self._texts(self.preprocessor, order, random)
        return self._images(self.preprocessor, order)

    def _images(
        self, preprocessor: ImagePreprocessor, order: Indices
    ) -> Iterator[dict[str, Tensor]]:
        for start in range(0, len(order), self.batch_size):
            positions = order[start : start + self.batch_size]
            inputs = preprocessor(self.samples.fetch(positions)["image"])
            labels = torch.from_numpy(self.samples.targets[positions])
            yield {**inputs, LABELS: labels, **self._ids(positions)}

    def _texts(
        self, preprocessor: TextPreprocessor, order: Indices, random: np.random.Generator | None
    ) -> Iterator[dict[str, Tensor]]:
        """Batches of texts. Shuffled texts are grouped by length, since that needs less padding."""
        pool = self.batch_size * (1 if random is None else POOL)
        full = len(order) - len(order) % self.batch_size
        starts = [*range(0, full, pool), *([full] if full < len(order) else [])]
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            positions = order[start:stop]
            encodings, words = self._encoded(preprocessor, positions)
            require_tokens(encodings, self.samples, positions)
            lengths = np.array([len(encoding["input_ids"]) for encoding in encodings])
            for chosen in self._buckets(lengths, random):
                batch = [encodings[at] for at in chosen]
                yield {
                    **preprocessor.pad(batch, fixed_length=self.fixed_length),
                    **self._labels(
                        preprocessor,
                        batch,
                        targets=self.samples.targets[positions[chosen]],
                        words=[words[at] for at in chosen] if words else [],
                    ),
                    **self._ids(positions[chosen]),
                }

    def _encoded(
        self, preprocessor: TextPreprocessor, positions: Indices
    ) -> tuple[list[Encoding], list[Words]]:
        """Encodings of some samples; for lists of words also the word of each token."""
        fetched = self.samples.fetch(positions)
        if "input_ids" in fetched:
            return [preprocessor.encoding_of(ids) for ids in fetched["input_ids"]], []
        if "tokens" in fetched:
            return preprocessor.encode_words(fetched["tokens"])
        return preprocessor.encode(fetched["text"], fetched.get("text_pair")), []

    def _labels(
        self,
        preprocessor: TextPreprocessor,
        batch: list[Encoding],
        *,
        targets: Targets,
        words: list[Words],
    ) -> dict[str, Tensor]:
        """The labels of a batch. Labels of tokens are padded as the tokens are."""
        if self.target == "none":
            told = of_pairs(self.samples)
            return {PAIRS: torch.from_numpy(np.asarray(targets))} if told else {}
        length = preprocessor.length_of(batch, fixed=self.fixed_length)
        if self.target == "next-token":
            ids = [encoding["input_ids"] for encoding in batch]
            return {LABELS: preprocessor.pad_rows(ids, IGNORED, length=length)}
        if isinstance(targets, Tags):
            rows = [
                [int(tags[word]) if 0 <= word < len(tags) else IGNORED for word in first]
                for first, tags in zip(words, targets.rows(), strict=True)
            ]
            return {LABELS: preprocessor.pad_rows(rows, IGNORED, length=length)}
        return {LABELS: torch.from_numpy(targets)}

    def _buckets(self, lengths: Indices, random: np.random.Generator | None) -> list[Indices]:
        if random is None:
            return [np.arange(len(lengths))]
        if self._of_pairs:
            longest = np.maximum.reduceat(lengths, np.arange(0, len(lengths), 2))
            by_length = _both(np.argsort(longest, kind="stable"), below=len(lengths))
        else:
            by_length = np.argsort(lengths, kind="stable")
        buckets = [
            by_length[start : start + self.batch_size]
            for start in range(0, len(lengths), self.batch_size)
        ]
        return [buckets[at] for at in random.permutation(len(buckets))]

    @property
    def _of_pairs(self) -> bool:
        """Whether the samples are the texts of pairs; see `compress.data.texts.pairs`."""
        return isinstance(self.samples.rows, TextsOfPairs)

    def _ids(self, positions: Indices) -> dict[str, Tensor]:
        return {SAMPLE_IDS: torch.from_numpy(positions)} if self.sample_ids else {}


def _both(pairs: Indices, *, below: int) -> Indices:
    """The places of both texts of each pair, one pair after another."""
    places = np.stack([2 * pairs, 2 * pairs + 1], axis=1).ravel()
    return places[places < below]
