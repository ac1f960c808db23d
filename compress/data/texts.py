"""From texts to a model's token ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compress.data.fingerprint import digest
from compress.errors import DataError, expected

LENGTH_LIMIT = 512
"""Tokens kept where neither the recipe nor the tokenizer says fewer."""
_NAMES = ("input_ids", "attention_mask", "token_type_ids")
Texts = Sequence[str] | npt.NDArray[Any]
Encoding = dict[str, list[int]]


class TextPreprocessor:
    """Texts to `input_ids`, `attention_mask` and, where the tokenizer makes them, `token_type_ids`.

    Parameters
    ----------
    tokenizer : of `transformers`.
    max_length : tokens kept of a text; None: as many as the tokenizer allows, at most 512.

    Raises
    ------
    DataError : `max_length` is more than the tokenizer allows, or there is no padding token.
    """

    modality = "text"

    def __init__(self, tokenizer: Any, max_length: int | None = None) -> None:
        allowed = int(tokenizer.model_max_length)
        if max_length is not None and max_length > allowed:
            raise DataError(
                expected("max_length", f"at most {allowed}, the tokenizer's limit", max_length)
            )
        if tokenizer.pad_token_id is None:
            raise DataError("the tokenizer has no padding token, which batches of texts need.")
        self.tokenizer = tokenizer
        self.max_length = max_length or min(allowed, LENGTH_LIMIT)
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
        """Token ids and masks, int64 (N, S); S is the longest text's, or `max_length`."""
        return self.pad(self.encode(texts, pairs), fixed_length=fixed_length)

    def encode(self, texts: Texts, pairs: Texts | None = None) -> list[Encoding]:
        """Token ids of each text, cut to `max_length`, not padded."""
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

    def pad(
        self, encodings: Sequence[Encoding], *, fixed_length: bool = False
    ) -> dict[str, Tensor]:
        """Encodings as tensors int64 (N, S), padded on the tokenizer's side."""
        longest = max(len(encoding["input_ids"]) for encoding in encodings)
        length = self.max_length if fixed_length else longest
        left = self.tokenizer.padding_side == "left"
        batch: dict[str, Tensor] = {}
        for name in self.input_names:
            array = np.full((len(encodings), length), self._padding[name], np.int64)
            for row, encoding in zip(array, encodings, strict=True):
                values = encoding[name]
                row[slice(length - len(values), None) if left else slice(len(values))] = values
            batch[name] = torch.from_numpy(array)
        return batch

    def save(self, directory: Path) -> None:
        """Write preprocessing.json and the tokenizer's own files."""
        directory.mkdir(parents=True, exist_ok=True)
        if self.tokenizer.is_fast:  # what the last call asked for would be written otherwise
            self.tokenizer.backend_tokenizer.no_truncation()
            self.tokenizer.backend_tokenizer.no_padding()
        self.tokenizer.save_pretrained(str(directory))
        text = json.dumps(self._constants(), indent=2) + "\n"
        (directory / "preprocessing.json").write_text(text, encoding="utf-8")

    def _constants(self) -> dict[str, Any]:
        return {
            "modality": self.modality,
            "input_names": list(self.input_names),
            "max_length": self.max_length,
            "padding_side": self.tokenizer.padding_side,
            "padding": {name: self._padding[name] for name in self.input_names},
        }


def _digestible(tokenizer: Any) -> Any:
    """All that decides a tokenizer's ids, as JSON."""
    if not tokenizer.is_fast:
        return [type(tokenizer).__name__, tokenizer.get_vocab(), repr(tokenizer.init_kwargs)]
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    # These two hold what the last call asked for.
    return {key: value for key, value in backend.items() if key not in ("truncation", "padding")}
