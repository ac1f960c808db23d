"""Makes a model's token ids from texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compress.data.fingerprint import digest, digest_file
from compress.errors import DataError, expected
from compress.models.transformers.positions import positions_allowed

LENGTH_LIMIT = 512
"""Tokens kept of a text if neither the recipe nor the tokenizer says fewer."""
ORIGINAL_IDS = "original_ids.json"
"""The file that holds the id of each token before the vocabulary was cut."""
_PLACES = ("name_or_path", "is_local", "local_files_only")
"""Settings in which a tokenizer keeps the place it was loaded from."""
_NAMES = ("input_ids", "attention_mask", "token_type_ids")
Texts = Sequence[str] | npt.NDArray[Any]
Encoding = dict[str, list[int]]
Words = list[int]


class TextPreprocessor:
    """Makes `input_ids`, `attention_mask` and, if the tokenizer does, `token_type_ids` from texts.

    Parameters
    ----------
    tokenizer : a tokenizer of `transformers`.
    max_length : tokens kept of a text; None: as many as tokenizer and model allow, at most 512.
    positions : number of tokens that the model can read; None: any.
    usual_length : tokens that the model's makers keep of a text; it counts if `max_length` is None.
    notes : what was decided about the tokenizer.
    original_ids : the id of each token before the vocabulary was cut; None: it wasn't cut.

    Raises
    ------
    DataError : `max_length` is more than the tokenizer or the model allows, or there is no padding
        token.
    """

    modality = "text"

    def __init__(
        self,
        tokenizer: Any,
        max_length: int | None = None,
        *,
        positions: int | None = None,
        usual_length: int | None = None,
        notes: tuple[str, ...] = (),
        original_ids: Sequence[int] | None = None,
    ) -> None:
        most = tokenizer.model_max_length
        if not isinstance(most, int | float) or not most >= 1:
            raise DataError(expected("model_max_length", "a number of tokens, at least 1", most))
        allowed = int(min(most, 10**30))  # infinity too
        if max_length is not None and max_length > allowed:
            raise DataError(
                expected("max_length", f"at most {allowed}, the tokenizer's limit", max_length)
            )
        if max_length is not None and positions is not None and max_length > positions:
            raise DataError(expected("max_length", positions_allowed(positions), max_length))
        if tokenizer.pad_token_id is None:
            raise DataError(
                "the tokenizer has no padding token, which batches of texts need, and no end token "
                "to pad with. Set its 'pad_token', save it (save_pretrained), and name the folder "
                "with 'data.tokenizer'."
            )
        self.tokenizer = tokenizer
        self.original_ids = None if original_ids is None else tuple(original_ids)
        self.max_length = max_length or min(
            allowed, LENGTH_LIMIT, positions or LENGTH_LIMIT, usual_length or LENGTH_LIMIT
        )
        if max_length is None and self.max_length < min(allowed, LENGTH_LIMIT):
            why = (
                "its model has no more positions"
                if self.max_length == positions
                else ("as the model's folder says")
            )
            notes += (f"texts are cut to {self.max_length} tokens: {why}.",)
        self.notes = notes
        self.input_names = tuple(name for name in _NAMES if name in tokenizer.model_input_names)
        self._padding = {
            "input_ids": int(tokenizer.pad_token_id),
            "attention_mask": 0,
            "token_type_ids": int(tokenizer.pad_token_type_id),
        }
        self._fingerprint = digest([_digestible(tokenizer), self._constants()])

    @property
    def fingerprint(self) -> str:
        """See `compress.core.artifact.Preprocessor`."""
        return self._fingerprint

    def __call__(
        self,
        texts: Texts,
        pairs: Texts | None = None,
        *,
        fixed_length: bool = False,
    ) -> dict[str, Tensor]:
        """Token ids and masks, int64 (N, S); S is the longest text's length, or `max_length`."""
        return self.pad(self.encode(texts, pairs), fixed_length=fixed_length)

    def encode(self, texts: Texts, pairs: Texts | None = None) -> list[Encoding]:
        """Token ids of each text, cut to `max_length` and not padded."""
        encoded = self.tokenizer(
            list(texts),
            None if pairs is None else list(pairs),
            truncation=True,
            max_length=self.max_length,
            padding=False,
            return_attention_mask=True,
            return_token_type_ids="token_type_ids" in self.input_names,
        )
        return [
            {name: encoded[name][row] for name in self.input_names} for row in range(len(texts))
        ]

    def encode_words(
        self, texts: Sequence[Any] | npt.NDArray[Any]
    ) -> tuple[list[Encoding], list[Words]]:
        """Token ids of texts that are lists of words, cut to `max_length` and not padded.

        Returns
        -------
        The encodings, and for each token of each encoding the number of the word that it begins; -1
        if it begins none.
        """
        encoded = self.tokenizer(
            [list(words) for words in texts],
            is_split_into_words=True,
            truncation=True,
            max_length=self.max_length,
            padding=False,
            return_attention_mask=True,
            return_token_type_ids="token_type_ids" in self.input_names,
        )
        encodings = [
            {name: encoded[name][row] for name in self.input_names} for row in range(len(texts))
        ]
        return encodings, [_first_of_word(encoded.word_ids(row)) for row in range(len(texts))]

    def encode_documents(self, texts: Texts) -> list[list[int]]:
        """Token ids of whole texts, each ended by the end-of-text token.

        Raises
        ------
        DataError : the tokenizer has no end-of-text token.
        """
        end = self.tokenizer.eos_token_id
        if end is None:
            raise DataError(
                "the tokenizer has no end-of-text token, which documents are joined by."
            )
        encoded = self.tokenizer(list(texts), truncation=False, padding=False, verbose=False)
        return [ids if ids[-1:] == [end] else [*ids, end] for ids in encoded["input_ids"]]

    def encoding_of(self, ids: Sequence[int]) -> Encoding:
        """The model's inputs for some token ids, none of them padding."""
        values = {"input_ids": list(ids), "attention_mask": [1] * len(ids)}
        return {name: values.get(name, [0] * len(ids)) for name in self.input_names}

    def pad(
        self, encodings: Sequence[Encoding], *, fixed_length: bool = False
    ) -> dict[str, Tensor]:
        """Encodings as tensors int64 (N, S), padded on the tokenizer's side."""
        length = self.length_of(encodings, fixed=fixed_length)
        return {
            name: self.pad_rows([encoding[name] for encoding in encodings], fill, length=length)
            for name, fill in self._padding.items()
            if name in self.input_names
        }

    def length_of(self, encodings: Sequence[Encoding], *, fixed: bool) -> int:
        """Number of tokens of padded encodings, S."""
        return self.max_length if fixed else max(len(one["input_ids"]) for one in encodings)

    def pad_rows(self, rows: Sequence[Sequence[int]], fill: int, *, length: int) -> Tensor:
        """Rows as one tensor int64 (N, `length`), filled up on the tokenizer's side."""
        left = self.tokenizer.padding_side == "left"
        array = np.full((len(rows), length), fill, np.int64)
        for row, values in zip(array, rows, strict=True):
            row[slice(length - len(values), None) if left else slice(len(values))] = values
        return torch.from_numpy(array)

    def save(self, directory: Path) -> None:
        """Write preprocessing.json, the tokenizer's own files and `original_ids`, if any."""
        directory.mkdir(parents=True, exist_ok=True)
        if self.tokenizer.is_fast:  # otherwise the settings of the last call would be written
            self.tokenizer.backend_tokenizer.no_truncation()
            self.tokenizer.backend_tokenizer.no_padding()
        self.tokenizer.save_pretrained(str(directory))
        text = json.dumps(self._constants(), indent=2) + "\n"
        (directory / "preprocessing.json").write_text(text, encoding="utf-8")
        if self.original_ids is not None:
            text = json.dumps(self.original_ids) + "\n"
            (directory / ORIGINAL_IDS).write_text(text, encoding="utf-8")

    def _constants(self) -> dict[str, Any]:
        return {
            "modality": self.modality,
            "input_names": list(self.input_names),
            "max_length": self.max_length,
            "end": self.tokenizer.eos_token_id,
            "truncation_side": self.tokenizer.truncation_side,
            "padding_side": self.tokenizer.padding_side,
            "split_special_tokens": bool(getattr(self.tokenizer, "split_special_tokens", False)),
            "padding": {name: self._padding[name] for name in self.input_names},
        }


def _first_of_word(word_ids: Sequence[int | None]) -> Words:
    """The word of each token that begins one; -1 for all other and special tokens."""
    return [
        -1 if word is None or word == last else word for last, word in pairwise((None, *word_ids))
    ]


def _content(value: Any) -> str:
    """Digest of a tokenizer's file, wherever it lies; empty if the file doesn't exist.

    The file of a cut vocabulary is gone; other settings identify it.
    """
    path = Path(str(value))
    return digest_file(path) if path.is_file() else ""


def _digestible(tokenizer: Any) -> Any:
    """Everything that decides a tokenizer's ids, as JSON."""
    if not tokenizer.is_fast:
        settings = {
            key: _content(value) if key.endswith("_file") else repr(value)
            for key, value in sorted(tokenizer.init_kwargs.items())
            if key not in _PLACES
        }
        return [type(tokenizer).__name__, tokenizer.get_vocab(), settings]
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    # These two hold the settings of the last call.
    return {key: value for key, value in backend.items() if key not in ("truncation", "padding")}
