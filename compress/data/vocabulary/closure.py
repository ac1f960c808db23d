"""What of a tokenizer must stay so that texts whose tokens are kept come out as the same pieces.

Each kind of model is read from its part of tokenizer.json. Why the pieces stay the same:

WordPiece takes the longest token that fits, from left to right. With fewer tokens to choose from
the one that was the longest still is. Only a word that ends as unknown may find another way where
what it tried on its way is gone: that is kept too (`tried_pieces`).

BPE merges, at each step, the pair of the lowest rank. A piece is made by the merges inside it
alone, so the tokens on its way are those of the piece spelled out by itself; with all of them
kept, every merge that was the lowest still stands, and none is new.

Unigram takes the pieces of the highest sum of scores. With fewer pieces to choose from the best sum
is still there; what is unknown costs ten less than the least score, whose token is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from compress.errors import StageError, expected

_KINDS = "a WordPiece, BPE or Unigram model (a tokenizer of pieces)"
_BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
Model = Mapping[str, Any]
"""The `model` of a tokenizer.json."""


def vocabulary(model: Model) -> dict[str, int]:
    """The ids of a model's tokens.

    Raises
    ------
    StageError : a kind of model that isn't known here, or one that draws its merges at random.
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
    """The tokens that stay: those used, those on the way to them, and those for unknown text.

    Parameters
    ----------
    used : the pieces that the texts came out as.

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
    """The tokens that WordPiece takes of a word before it gives it up as unknown.

    Parameters
    ----------
    model : of WordPiece.
    word : normalised.
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
    """The model with some of its tokens.

    Parameters
    ----------
    ids : of the tokens that stay, from 0 without a gap.
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
    """What spells any text: the tokens of bytes, or else those of one character."""
    spelled = set(_BYTES) & set(tokens) if model.get("byte_fallback") else set()
    if len(spelled) == len(_BYTES):
        return spelled
    return spelled | {token for token in tokens if len(_characters(model, token)) == 1}


def _characters(model: Model, token: str) -> list[str]:
    """A token's characters as BPE and WordPiece name them at its place in a word."""
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
    """All that the merges make on their way to some pieces, their characters included."""
    # Of a pair that stands there twice, tokenizers takes the last.
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
        if symbols == [piece]:  # else it is no merges' work: a byte, or a word taken whole
            seen |= made
    return seen
