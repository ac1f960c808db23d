"""Chooses `max_length` from the lengths of the data's first texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from compress.core.foreign.boundary import reading
from compress.errors import DataError
from compress.models.folder.sentence_transformers import sentence_folder
from compress.models.onnx_file.beside import preprocessing_of
from compress.models.transformers.positions import longest_text
from compress.recipe.draft.columns import Column
from compress.recipe.draft.model import DraftModel

_CHOICES = (16, 32, 64, 128, 256, 512)
_MOST_TEXTS = 1000
_TOKENS_A_WORD = 1.5
_BLOCKS = 200
"""Blocks of text that a data set for text generation should have at least."""


class Length(NamedTuple):
    """A length in tokens, and why it was chosen."""

    tokens: int
    why: str


def choose_length(
    model: DraftModel, inputs: Sequence[Column], *, generates: bool, rows: int | None
) -> Length | None:
    """Return the tokens to keep of a text; None if no text can be seen from here.

    Parameters
    ----------
    inputs : columns of texts, or of lists of words; the texts of two columns are joined.
    generates : whether texts are joined and cut into blocks of that length.
    rows : number of rows of train.
    """
    texts = [
        " ".join(map(_text, values))
        for values in zip(*(one.values for one in inputs), strict=False)
    ]
    if not texts:
        return None
    counts, how = _counts(model, texts[:_MOST_TEXTS])
    most = min(_limit(model), _CHOICES[-1])
    fitting = [choice for choice in _CHOICES if choice <= most] or [most]
    if generates:
        tokens = sum(counts) * max(1, rows or len(texts)) // len(counts)
        blocks = [choice for choice in fitting if choice * _BLOCKS <= tokens] or fitting[:1]
        return Length(blocks[-1], f"texts are cut into blocks; train has about {tokens:,} tokens")
    counts.sort()
    usual, longest = counts[int(0.95 * (len(counts) - 1))], counts[-1]
    chosen = next((choice for choice in fitting if choice >= usual), most)
    return Length(
        chosen,
        f"95 % of the first {len(counts):,} texts have at most {usual} tokens, the longest "
        f"{longest} ({how})",
    )


def _text(value: Any) -> str:
    """Return a text; words are joined."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _limit(model: DraftModel) -> int:
    """Return the longest text that the model can read, or is used with."""
    limits = [longest_text(model.config)] if model.config else []
    if model.sentence:
        steps = sentence_folder(model.word)
        limits.append(None if steps is None else steps.max_length)
    return min((limit for limit in limits if limit is not None), default=_CHOICES[-1])


def _counts(model: DraftModel, texts: Sequence[str]) -> tuple[list[int], str]:
    """Return the tokens of each text, and how they were counted."""
    folder = preprocessing_of(model.spec()) if model.is_onnx else model.word
    file = Path(folder or "").expanduser() / "tokenizer.json"
    if model.is_python or folder is None or not file.is_file():
        estimated = [round(_TOKENS_A_WORD * len(text.split())) + 2 for text in texts]
        return estimated, "as estimated from their words"
    from tokenizers import Tokenizer

    with reading(file, error=DataError):
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        encoded = tokenizer.encode_batch(list(texts))
    return [len(each.ids) for each in encoded], "as the model's tokenizer counts"
