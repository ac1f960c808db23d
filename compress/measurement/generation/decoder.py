"""Models as they generate text: tokens go in, and the likeliest next one comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from compress.core.batch import ATTENTION_MASK
from compress.measurement.session import PAST, TOKENS, run, session
from compress.tasks.outputs import PRESENT

NO_CACHE = "it generates without a key-value cache: each token is read with all before it"
_SEGMENTS = "token_type_ids"


class Decoder(Protocol):
    """A model that continues one text, and knows what it has read of it."""

    @property
    def has_cache(self) -> bool:
        """True if it keeps keys and values of what it has read, and reads each token once."""
        ...

    def begin(self) -> None:
        """Forget the text."""
        ...

    def read(self, tokens: Sequence[int]) -> int:
        """Read tokens that follow those before; return the likeliest next one."""
        ...


class OnnxDecoder:
    """An ONNX file with or without a key-value cache, run as a bundle's `infer.py` runs it.

    Parameters
    ----------
    threads : number of threads within an operator.

    Raises
    ------
    LoadError : ONNX Runtime can't load the file.
    """

    def __init__(self, onnx: Path, *, threads: int = 1) -> None:
        self._session = session(onnx, threads=threads)
        names = [value.name for value in self._session.get_inputs()]
        self._caches = {name: name.replace(PAST, PRESENT) for name in names if PAST in name}
        self._segments = _SEGMENTS in names
        self.begin()

    @property
    def has_cache(self) -> bool:
        """True if the file takes and gives keys and values of what was read."""
        return bool(self._caches)

    def begin(self) -> None:
        """Forget the text."""
        self._past: Mapping[str, np.ndarray[Any, Any]] = {}
        self._read: list[int] = []

    def read(self, tokens: Sequence[int]) -> int:
        """Read tokens that follow those before; return the likeliest next one.

        Raises
        ------
        DataError, StageError : the file takes other inputs, or doesn't run on these.
        """
        self._read += tokens
        unread = tokens if self._caches else self._read
        ids = np.array([unread], np.int64)
        given = {TOKENS: ids, ATTENTION_MASK: np.ones((1, len(self._read)), np.int64)}
        if self._segments:
            given[_SEGMENTS] = np.zeros_like(ids)
        outputs = run(self._session, {**given, **self._past})
        self._past = {name: outputs[present] for name, present in self._caches.items()}
        return int(next(iter(outputs.values()))[0, -1].argmax())
