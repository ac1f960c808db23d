"""Joins texts to one stream of tokens and cuts it into blocks of equal length."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compress.data.labels.targets import no_targets
from compress.data.rows import Indices, Values
from compress.data.sources.quiet import quiet
from compress.data.splits import Samples
from compress.data.texts.encode import TextPreprocessor

_DOCUMENTS = 256
"""Texts tokenised at a time."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of tokens; implements `compress.data.rows.Rows` with one column, `input_ids`.

    Attributes
    ----------
    split : the split's name, for messages.
    stream : (T,) the tokens, in a file that is removed when the process ends.
    length : tokens in a block; the last block may have fewer.
    """

    split: str
    stream: npt.NDArray[np.uint32]
    length: int
    label_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """See `Rows`."""
        return -(-len(self.stream) // self.length)

    def fetch(self, indices: Indices) -> dict[str, Values]:
        """See `Rows`."""
        starts = (indices * self.length).tolist()
        return {"input_ids": [self.stream[at : at + self.length].tolist() for at in starts]}

    def labels(self) -> Iterator[Values]:
        """See `Rows`."""
        yield from ()


def cut_blocks(documents: Samples, preprocessor: TextPreprocessor) -> Samples:
    """Tokenise a split's texts, join them, and cut the stream into blocks.

    Each text is followed by the end-of-text token. The stream lies in a temporary file without a
    name, so memory doesn't grow with it.
    """
    # The memory map keeps the file's content; the file is gone once the map is.
    with tempfile.TemporaryFile(prefix="compress-tokens-") as file, quiet():
        count = 0
        for start in range(0, len(documents), _DOCUMENTS):
            positions = np.arange(start, min(start + _DOCUMENTS, len(documents)), dtype=np.int64)
            for ids in preprocessor.encode_documents(documents.fetch(positions)["text"]):
                file.write(np.asarray(ids, np.uint32).tobytes())
                count += len(ids)
        file.flush()
        stream = np.memmap(file, dtype=np.uint32, mode="r", shape=(count,))
    blocks = Blocks(documents.rows.split, stream, preprocessor.max_length)
    everything = np.arange(len(blocks), dtype=np.int64)
    return Samples(blocks, everything, no_targets(len(blocks), target="next-token", classes=0))
