"""Cuts pairs of a question and a long text into windows, and makes batches of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compress.core.batch import LABELS, about_key, labels_key
from compress.errors import DataError
from compress.tasks.answers import script_functions
from compress.tasks.contract import WINDOW
from compress.tasks.texts.batches import of_texts
from compress.tasks.texts.right_answers import RightAnswer, right_answers

if TYPE_CHECKING:
    from compress.core.artifact import Preprocessor

    Samples = Sequence[Mapping[str, Any]]

_SCRIPT = Path(__file__).parents[1] / "scripts" / "question_answering.py.txt"
_NONE = -1


def windows_of(
    samples: Samples, constants: Mapping[str, Any], preprocessor: Preprocessor | None
) -> list[list[Any]]:
    """Return all windows of each sample, as the bundle's script cuts them.

    Raises
    ------
    DataError : a question leaves no room for its context, or the tokenizer doesn't say which
        characters a token is of.
    """
    texts = of_texts(preprocessor)
    if not texts.tokenizer.is_fast:
        raise DataError(
            "question-answering needs a tokenizer that says which characters a token is of (a fast "
            f"one, with a tokenizer.json). Got {type(texts.tokenizer).__name__}."
        )
    backend = texts.tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = bool(getattr(texts.tokenizer, "split_special_tokens", False))
    pairs = [(str(sample["question"]), str(sample["context"])) for sample in samples]
    windowed = script_functions(_SCRIPT)["windowed"]
    wanted = {"max_length": texts.max_length, **constants}
    try:
        return [windowed(encoding, wanted) for encoding in backend.encode_batch(pairs)]
    except ValueError as error:
        raise DataError(str(error)) from error


def window_batch(
    samples: Samples,
    constants: Mapping[str, Any],
    preprocessor: Preprocessor | None,
    *,
    fixed_length: bool,
) -> dict[str, Tensor]:
    """Return the batch of the windows that samples ask for; see `QuestionAnswering.collate`."""
    texts = of_texts(preprocessor)
    found = windows_of(samples, constants, preprocessor)
    windows = [one[sample.get(WINDOW, 0)] for one, sample in zip(found, samples, strict=True)]
    encodings = [
        {
            "input_ids": window.ids,
            "attention_mask": window.attention_mask,
            "token_type_ids": window.type_ids,
        }
        for window in windows
    ]
    batch = texts.pad(encodings, fixed_length=fixed_length)
    length = texts.length_of(encodings, fixed=fixed_length)
    left = texts.tokenizer.padding_side == "left"
    shifts = [length - len(window.ids) if left else 0 for window in windows]
    offsets = [np.array(window.offsets, np.int64) for window in windows]
    begins = [int(of[of[:, 0] >= 0, 0].min()) for of in offsets]
    inside = [
        np.where(of >= 0, of - begin, _NONE) for of, begin in zip(offsets, begins, strict=True)
    ]
    batch[about_key("offsets")] = _placed(inside, shifts, length)
    batch[about_key("first")] = torch.tensor(shifts)
    if LABELS in samples[0]:
        batch |= _labelled(samples, offsets, shifts)
        batch[about_key("text")] = _codes(
            [
                str(sample["context"])[begin : int(of[:, 1].max())]
                for sample, begin, of in zip(samples, begins, offsets, strict=True)
            ]
        )
    return batch


def _labelled(
    samples: Samples, offsets: Sequence[np.ndarray[Any, Any]], shifts: Sequence[int]
) -> dict[str, Tensor]:
    """The tokens at which the first right answers begin and end, and all right answers."""
    right = [right_answers(sample[LABELS], str(sample["context"])) for sample in samples]
    ends = [
        tokens_of(answers[0], of) if answers else (0, 0)
        for answers, of in zip(right, offsets, strict=True)
    ]
    most = max(1, *map(len, right))
    texts = [[*(one.text for one in answers), *[""] * (most - len(answers))] for answers in right]
    codes = _codes([text for answers in texts for text in answers])
    return {
        labels_key("start_logits"): torch.tensor([a for a, _ in ends]) + torch.tensor(shifts),
        labels_key("end_logits"): torch.tensor([b for _, b in ends]) + torch.tensor(shifts),
        about_key("answers"): codes.reshape(len(samples), most, -1),
    }


def tokens_of(answer: RightAnswer, offsets: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Return the first and the last token of an answer in a window; (0, 0) if it isn't all there.

    Parameters
    ----------
    offsets : (S, 2) the characters of each token in the context, below 0 for other tokens.
    """
    known = offsets[:, 0] >= 0
    begin, end = int(offsets[known, 0].min()), int(offsets[known, 1].max())
    tokens = np.flatnonzero(known & (offsets[:, 1] > answer.start) & (offsets[:, 0] < answer.end))
    if not len(tokens) or answer.start < begin or answer.end > end:
        return 0, 0
    return int(tokens[0]), int(tokens[-1])


def _placed(offsets: Sequence[np.ndarray[Any, Any]], shifts: Sequence[int], length: int) -> Tensor:
    """Offsets as one tensor (N, S, 2), below 0 at padding."""
    array = np.full((len(offsets), length, 2), _NONE, np.int64)
    for row, of, shift in zip(array, offsets, shifts, strict=True):
        row[shift : shift + len(of)] = of
    return torch.from_numpy(array)


def _codes(texts: Sequence[str]) -> Tensor:
    """Texts as their code points, int64 (N, L), below 0 after a text's end."""
    array = np.full((len(texts), max(1, *map(len, texts))), _NONE, np.int64)
    for row, text in zip(array, texts, strict=True):
        row[: len(text)] = [ord(letter) for letter in text]
    return torch.from_numpy(array)
