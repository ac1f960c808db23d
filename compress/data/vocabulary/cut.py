"""Cuts tokens from a tokenizer by rewriting its tokenizer.json."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from compress.core.artifact import Preprocessor
from compress.data.sources.quiet import quiet
from compress.data.texts.encode import TextPreprocessor
from compress.data.vocabulary.closure import cut_model, kept_tokens, tried_pieces, vocabulary
from compress.data.vocabulary.use import Use
from compress.errors import StageError, expected

_FILE = "tokenizer.json"
_LAST_CALL = ("truncation", "padding")
"""Parts of a tokenizer.json that hold the settings of the last call."""


class KeptTokens(NamedTuple):
    """The tokens that stay.

    Attributes
    ----------
    tokens : the tokens in the order of their new ids.
    original : the old id of each token, followed by rows of the model that belong to no token.
    """

    tokens: list[str]
    original: list[int]


def backend_of(preprocessor: Preprocessor) -> dict[str, Any]:
    """The tokenizer.json of a preprocessor.

    Raises
    ------
    StageError : there is none, or its model is unknown here (see `vocabulary`).
    """
    tokenizer = preprocessor.tokenizer
    if tokenizer is None or not tokenizer.is_fast:
        raise StageError(
            expected("the tokenizer", "a fast one, with a tokenizer.json", type(tokenizer).__name__)
        )
    backend: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary(backend["model"])
    return {**backend, **dict.fromkeys(_LAST_CALL)}


def choose_tokens(
    backend: Mapping[str, Any], use: Use, *, ids: Mapping[str, int], also: Collection[int]
) -> KeptTokens:
    """Choose the tokens that stay, in their old order: the model's own, then those added to it.

    Parameters
    ----------
    backend : the tokenizer.json.
    use : the tokens that the texts use.
    ids : ids of all tokens.
    also : ids that stay in any case.
    """
    model = backend["model"]
    added = {entry["content"] for entry in backend["added_tokens"]}
    needed = use.ids | set(also) | set(_framing(backend["post_processor"]))
    used = {token for token, number in ids.items() if number in needed}
    kept = kept_tokens(model, used | added)
    for word in use.unknown if model["type"] == "WordPiece" else ():
        kept |= tried_pieces(model, word)
    tokens = [*sorted(kept, key=ids.__getitem__)]
    tokens += sorted(added - kept, key=ids.__getitem__)
    rows = sorted(set(also) - set(ids.values()))
    return KeptTokens(tokens, [*(ids[token] for token in tokens), *rows])


def cut_tokenizer(
    preprocessor: TextPreprocessor, backend: Mapping[str, Any], choice: KeptTokens
) -> TextPreprocessor:
    """The preprocessor with the chosen tokens only, loaded from files as a later run would load it.

    Parameters
    ----------
    backend : the preprocessor's tokenizer.json.

    Raises
    ------
    StageError : transformers loads another tokenizer than the one that was written.
    """
    from transformers import AutoTokenizer

    ids = {token: number for number, token in enumerate(choice.tokens)}
    written = _rewritten(backend, ids)
    with tempfile.TemporaryDirectory(prefix="compress-tokenizer-") as folder, quiet():
        preprocessor.tokenizer.save_pretrained(folder)
        text = json.dumps(written, ensure_ascii=False)
        (Path(folder) / _FILE).write_text(text, encoding="utf-8")
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tokenizer.padding_side = preprocessor.tokenizer.padding_side  # not always in the files
    read = json.loads(tokenizer.backend_tokenizer.to_str())
    read.update(dict.fromkeys(_LAST_CALL))
    if tokenizer.get_vocab() != ids or read != written:
        raise StageError(
            f"transformers doesn't load a {type(preprocessor.tokenizer).__name__} with fewer "
            f"tokens as it was written: {_difference(written, read)}."
        )
    before = preprocessor.original_ids
    original = choice.original if before is None else [before[old] for old in choice.original]
    return TextPreprocessor(tokenizer, preprocessor.max_length, original_ids=original)


def _rewritten(backend: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, Any]:
    model_ids = {token: ids[token] for token in vocabulary(backend["model"]) if token in ids}
    return {
        **backend,
        "model": cut_model(backend["model"], model_ids),
        "added_tokens": sorted(
            ({**entry, "id": ids[entry["content"]]} for entry in backend["added_tokens"]),
            key=lambda entry: int(entry["id"]),
        ),
        "post_processor": _reframed(backend["post_processor"], ids),
    }


def _framing(processor: Mapping[str, Any] | None) -> list[int]:
    """Ids of the tokens that a post-processor puts around texts."""
    kind = None if processor is None else processor["type"]
    if processor is None or kind == "ByteLevel":
        return []
    if kind == "Sequence":
        return [number for one in processor["processors"] for number in _framing(one)]
    if kind == "TemplateProcessing":
        return [number for one in processor["special_tokens"].values() for number in one["ids"]]
    if kind in ("BertProcessing", "RobertaProcessing"):
        return [processor["sep"][1], processor["cls"][1]]
    raise StageError(
        expected("the tokenizer's post-processor", "a template, BERT's or RoBERTa's", kind)
    )


def _reframed(processor: Mapping[str, Any] | None, ids: Mapping[str, int]) -> Any:
    if processor is None or processor["type"] == "ByteLevel":
        return processor
    if processor["type"] == "Sequence":
        return {**processor, "processors": [_reframed(one, ids) for one in processor["processors"]]}
    if processor["type"] == "TemplateProcessing":
        tokens = {
            name: {**one, "ids": [ids[token] for token in one["tokens"]]}
            for name, one in processor["special_tokens"].items()
        }
        return {**processor, "special_tokens": tokens}
    ends = {name: [processor[name][0], ids[processor[name][0]]] for name in ("sep", "cls")}
    return {**processor, **ends}


def _difference(written: Mapping[str, Any], read: Mapping[str, Any]) -> str:
    parts: Sequence[str] = [name for name in written if written[name] != read.get(name)]
    return f"{', '.join(parts)} changed" if parts else "its ids changed"
