"""Reads the steps around the transformer from a sentence-transformers folder. No torch here.

Its `modules.json` lists the parts: a transformer, a pooling, maybe more. A part that a bundle
can't repeat is refused by name, since the bundle's vectors would differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from compress.core.context import Pooling
from compress.core.files.confined import inside
from compress.core.foreign.boundary import reading
from compress.errors import ModelError, clipped, expected
from compress.models.spec import is_folder

Read = Callable[[str], Any]
"""Returns the JSON of a file in the folder, by its name; None if there is no such file."""

POOLINGS: tuple[Pooling, ...] = ("mean", "cls", "max")
MODULES, SETTINGS = "modules.json", "sentence_bert_config.json"
FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class SentenceModel:
    """The steps that a sentence-transformers model adds to its transformer.

    Attributes
    ----------
    pooling : the way in which one vector is made from the tokens'.
    normalize : whether vectors are normalized to length 1.
    max_length : tokens kept of a text by default; None if the model doesn't say.
    """

    pooling: Pooling
    normalize: bool
    max_length: int | None


def sentence_folder(name: str) -> SentenceModel | None:
    """The steps in a local folder; None if it isn't one of sentence-transformers.

    The transformer's own folder inside such a folder counts too.

    Raises
    ------
    ModelError : the model has a part that isn't supported, or a file can't be read.
    """
    if not is_folder(name):
        return None
    folder = Path(name).expanduser()
    if (folder / MODULES).is_file():
        return sentence_model(lambda file: _read(folder, file), name=name)
    whole = folder.resolve().parent
    if not (whole / MODULES).is_file():
        return None
    listed = _read(whole, MODULES)
    paths = {str(part.get("path")) for part in listed} if _are_parts(listed) else set()
    if folder.resolve().name not in paths:
        return None
    return sentence_model(lambda file: _read(whole, file), name=str(whole))


def sentence_model(read: Read, *, name: str) -> SentenceModel | None:
    """The steps in the files of a model; None if there is no list of modules among them.

    Parameters
    ----------
    read : reads a file by its name.
    name : the model's name, for messages.

    Raises
    ------
    ModelError : as `sentence_folder`.
    """
    parts = read(MODULES)
    if parts is None:
        return None
    if not _are_parts(parts):
        raise ModelError(f"{MODULES} of {name!r} must be a list of modules.")
    kinds = [str(part.get("type", "")).rpartition(".")[2] for part in parts]
    allowed = kinds[:2] == ["Transformer", "Pooling"] and kinds[2:] in ([], ["Normalize"])
    if not allowed:
        raise ModelError(
            f"{name!r} is a sentence-transformers model of {clipped(', '.join(kinds), 200)}. "
            "Supported: a Transformer, then a Pooling, then maybe Normalize."
        )
    settings = _file(read, parts[0], SETTINGS)
    _require_case(read, parts[0], settings, name)
    _require_no_prompt(read("config_sentence_transformers.json"), name)
    length = settings.get("max_seq_length")
    whole = isinstance(length, int) and not isinstance(length, bool) and length >= 2
    if length is not None and not whole:
        problem = expected("max_seq_length", "a whole number of tokens or null", length)
        raise ModelError(f"sentence_bert_config.json of {name!r}: {problem}")
    return SentenceModel(
        pooling=_pooling(_file(read, parts[1], "config.json"), name),
        normalize="Normalize" in kinds,
        max_length=length,
    )


def _pooling(config: Mapping[str, Any], name: str) -> Pooling:
    mode = config.get("pooling_mode")
    if mode is None:
        found = [word for flag, word in FLAGS.items() if config.get(flag) is True]
    else:
        found = [str(each) for each in (mode if isinstance(mode, list) else [mode])]
    known = next((each for each in POOLINGS if found == [each]), None)
    if known is None:
        given = " and ".join(found) or "none that is known"
        raise ModelError(
            f"the pooling of {name!r} must be one of {', '.join(POOLINGS)}. Got {clipped(given)}."
        )
    return known


def _require_case(
    read: Read, part: Mapping[str, Any], settings: Mapping[str, Any], name: str
) -> None:
    """Refuse lower-casing that the tokenizer doesn't do, since it would be lost."""
    if settings.get("do_lower_case") is not True:
        return
    if _file(read, part, "tokenizer_config.json").get("do_lower_case") is not True:
        raise ModelError(
            f"sentence_bert_config.json of {name!r} says do_lower_case, and its tokenizer doesn't: "
            "that isn't supported. Use a tokenizer that lower-cases."
        )


def _require_no_prompt(config: object, name: str) -> None:
    """Refuse a prompt before every text, since it would be lost."""
    if not isinstance(config, Mapping):
        return
    chosen, prompts = config.get("default_prompt_name"), config.get("prompts")
    text = prompts.get(chosen) if isinstance(prompts, Mapping) and chosen is not None else None
    if text:
        raise ModelError(
            f"{name!r} puts the prompt {clipped(str(text), 80)!r} before every text "
            "(default_prompt_name), which isn't supported. Put it into the texts, and set "
            "default_prompt_name to null."
        )


def _file(read: Read, part: Mapping[str, Any], file: str) -> Mapping[str, Any]:
    values = read(str(PurePosixPath(str(part.get("path") or "")) / file))
    return values if isinstance(values, Mapping) else {}


def _are_parts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(part, Mapping) for part in value)


def _read(folder: Path, file: str) -> Any:
    path = inside(folder, file, links=True, error=ModelError)  # the hub's cache is made of links
    if not path.is_file():
        return None
    with reading(path, error=ModelError):
        return json.loads(path.read_text(encoding="utf-8"))
