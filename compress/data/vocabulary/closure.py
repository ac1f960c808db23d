"""Finds the tokens that a tokenizer must keep so that texts are split into the same pieces.

Each kind of model is read from its part of tokenizer.json. The pieces stay the same for these
reasons:

WordPiece takes the longest token that fits, from left to right. If this token is kept, it is still
the longest of fewer ones. A word that ends as unknown could be split in another way if a token that
was tried for it were gone, so these tokens are kept too (`tried_pieces`).

BPE merges, at each step, the pair of the lowest rank. Only the merges inside a piece make it, so
its intermediate tokens are found by merging the piece by itself. If all of them are kept, every
merge that had the lowest rank still does, and no merge is new.

Unigram takes the pieces with the highest sum of scores. If these are kept, their sum is still the
highest of fewer ones. An unknown character scores ten less than the lowest score, so the token with
that score is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from compress.errors import StageError, expected

_KINDS = "a WordPiece, BPE or Unigram model (a tokenizer of pieces)"
_BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
Model = Mapping[str, Any]
"""The part `model` of a tokenizer.json."""


def vocabulary(model: Model) -> dict[str, int]:
    """The ids of a model's tokens.

    Raises
    ------
    StageError : the kind of model is unknown here, or it draws its merges at random.
    """
    kind, tokens = model.get("type"), model["vocab"]
    if kind not in ("WordPiece", "BPE", "Unigram"):
        raise StageError(expected("the tokenizer", _KINDS, kind))
    if model.get("dropout"):
        raise StageError(expected("the tokenizer", "without dropout of merges", model["dropout"]))
    if kind == "Unigram":
        return {piece: place for place, (piece, _) in enumerate(tokens)}
    return dict(tokens)


def kept_tokens(model: Model, used: Iterable[str]) -> set[str]:
    """The tokens to keep: those used, those needed to make them, and those for unknown text.

    Parameters
    ----------
    used : the pieces into which the texts are split.

    Raises
    ------
    StageError : see `vocabulary`.
    """
    tokens = vocabulary(model)
    kept = {token for token in used if token in tokens}
    if model["type"] == "BPE":
        kept |= _on_the_way(model, kept)
    kept |= _alphabet(model, tokens)
    if model["type"] == "Unigram":
        unknown = model.get("unk_id")
        kept |= set() if unknown is None else {model["vocab"][unknown][0]}
        kept.add(min(model["vocab"], key=lambda entry: float(entry[1]))[0])
    else:
        kept |= {str(model.get("unk_token"))} & set(tokens)
    return kept


def tried_pieces(model: Model, word: str) -> set[str]:
    """The tokens that WordPiece finds in a word before it takes the word as unknown.

    Parameters
    ----------
    model : a WordPiece model.
    word : the normalised word.
    """
    tokens, prefix = model["vocab"], model["continuing_subword_prefix"]
    tried: set[str] = set()
    start = 0
    while start < len(word) <= model["max_input_chars_per_word"]:
        lead = prefix if start else ""
        ends = range(len(word), start, -1)
        end = next((at for at in ends if lead + word[start:at] in tokens), None)
        if end is None:
            break
        tried.add(lead + word[start:end])
        start = end
    return tried


def cut_model(model: Model, ids: Mapping[str, int]) -> dict[str, Any]:
    """The model with some of its tokens only.

    Parameters
    ----------
    ids : new ids of the tokens that stay, from 0 without a gap.
    """
    if model["type"] == "Unigram":
        scores = dict(model["vocab"])
        unknown = model.get("unk_id")
        return {
            **model,
            "vocab": [[token, scores[token]] for token in sorted(ids, key=ids.__getitem__)],
            "unk_id": None if unknown is None else ids[model["vocab"][unknown][0]],
        }
    cut = {**model, "vocab": dict(ids)}
    if model["type"] == "BPE":
        cut["merges"] = [
            [left, right]
            for left, right in _merges(model)
            if left in ids and right in ids and _joined(model, left, right) in ids
        ]
    return cut


def _alphabet(model: Model, tokens: Mapping[str, int]) -> set[str]:
    """The tokens that can spell any text: those of bytes, or else those of one character."""
    spelled = set(_BYTES) & set(tokens) if model.get("byte_fallback") else set()
    if len(spelled) == len(_BYTES):
        return spelled
    return spelled | {token for token in tokens if len(_characters(model, token)) == 1}


def _characters(model: Model, token: str) -> list[str]:
    """A token's characters as BPE and WordPiece write them at their place in a word."""
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    lead = prefix if token.startswith(prefix) else ""
    body = token[len(lead) :]
    trail = suffix if body.endswith(suffix) else ""
    body = body[: len(body) - len(trail)]
    named = [(lead if not at else prefix) + character for at, character in enumerate(body)]
    return [*named[:-1], named[-1] + trail] if named else []


def _merges(model: Model) -> list[tuple[str, str]]:
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    return [(left, right) for left, right in pairs]


def _joined(model: Model, left: str, right: str) -> str:
    return left + right.removeprefix(model.get("continuing_subword_prefix") or "")


def _on_the_way(model: Model, pieces: Iterable[str]) -> set[str]:
    """All tokens that the merges make on the way to some pieces, single characters included."""
    # If a pair is listed twice, `tokenizers` takes the last rank.
    ranks = {pair: rank for rank, pair in enumerate(_merges(model))}
    seen: set[str] = set()
    for piece in pieces:
        symbols = _characters(model, piece)
        made = set(symbols)
        while len(symbols) > 1:
            pairs = list(pairwise(symbols))
            at = min(range(len(pairs)), key=lambda place: ranks.get(pairs[place], len(ranks)))
            if pairs[at] not in ranks:
                break
            symbols[at : at + 2] = [_joined(model, *pairs[at])]
            made.add(symbols[at])
        if symbols == [piece]:  # otherwise no merges made it: a byte, or a word taken whole
            seen |= made
    return seen
