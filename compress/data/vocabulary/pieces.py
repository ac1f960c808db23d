"""Trains a tokenizer that reads a text quickly.

It writes texts in lower case, splits them at spaces and punctuation, and cuts each word into its
longest known pieces, as WordPiece does (Schuster and Nakajima, 2012). The pieces are those of a
byte-pair encoding (Sennrich et al., 2016): `tokenizers` trains WordPiece too, but numbers its
pieces in an order that differs between trainings.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_PAD, _UNKNOWN, _BEGIN, _SEPARATOR, _MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (_PAD, _UNKNOWN, _BEGIN, _SEPARATOR, _MASK)
"""Tokens of every tokenizer; their ids are their places here."""
_ALPHABET = 500
"""Most characters that are tokens; others are unknown."""
_WORD, _INSIDE = "▁", "##"
"""What a word begins with while pieces are joined, and a piece inside of a word as WordPiece."""
_LEAST = 2
"""A pair of pieces is joined if it occurs as often."""


def train_pieces(texts: Iterable[str], *, size: int, max_length: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer on texts; the same texts give the same tokenizer.

    Parameters
    ----------
    size : most tokens, `SPECIAL` included.
    max_length : the largest number of tokens in a text.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    vocabulary = _vocabulary(texts, size=size)
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token=_UNKNOWN))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = TemplateProcessing(
        single=f"{_BEGIN} $A {_SEPARATOR}",
        pair=f"{_BEGIN} $A {_SEPARATOR} $B {_SEPARATOR}",
        special_tokens=[(name, vocabulary[name]) for name in (_BEGIN, _SEPARATOR)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        pad_token=_PAD,
        unk_token=_UNKNOWN,
        cls_token=_BEGIN,
        sep_token=_SEPARATOR,
        mask_token=_MASK,
    )


def _vocabulary(texts: Iterable[str], *, size: int) -> dict[str, int]:
    """The ids of pieces at the beginning of words, and of pieces inside, which `##` marks."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(_WORD, split=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=_LEAST,
        limit_alphabet=_ALPHABET,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    joined = backend.get_vocab()
    made = dict.fromkeys(SPECIAL)
    for piece in sorted(joined, key=joined.__getitem__):
        if not piece.startswith(_WORD):
            made |= dict.fromkeys(
                [piece, _INSIDE + piece] if len(piece) == 1 else [_INSIDE + piece]
            )
        elif piece != _WORD:
            made[piece.removeprefix(_WORD)] = None
    # The rarest pieces came last.
    return {piece: number for number, piece in enumerate(islice(made, size))}
