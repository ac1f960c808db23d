"""Loads the preprocessor that belongs to a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compress.core.context import Task
from compress.core.files.paths import folder_problem, only_a_path
from compress.core.foreign.boundary import reading
from compress.core.foreign.remote_code import why
from compress.data.fields.preprocessor import TensorPreprocessor
from compress.data.images.processor import reduce_processor
from compress.data.images.transform import ImagePreprocessor, Transform
from compress.data.sources.quiet import quiet
from compress.data.spec import DataSpec, ImageSpec, TrainedTokenizer
from compress.data.texts.encode import LENGTH_LIMIT, ORIGINAL_IDS, TextPreprocessor
from compress.data.vocabulary.train import train_tokenizer
from compress.errors import DataError, clipped

__all__ = ["ImagePreprocessor", "TextPreprocessor", "load_preprocessor", "transform_of"]

Preprocessor = TextPreprocessor | ImagePreprocessor | TensorPreprocessor
_VOCABULARIES = ("tokenizer.json", "tokenizer*.model", "vocab*", "*.spm", "spiece.model", "*.bpe*")


def load_preprocessor(
    model_folder_or_id: str | None,
    *,
    task: Task,
    spec: DataSpec,
    texts: Iterable[str] | None = None,
    positions: int | None = None,
    usual_length: int | None = None,
) -> Preprocessor:
    """The preprocessor of a model: its tokenizer or its image processor.

    Parameters
    ----------
    model_folder_or_id : a `transformers` model; None for another module.
    spec : its `tokenizer` and `image` take precedence over the model's folder.
    texts : texts of the train split, for a tokenizer that is to be trained; None if it was trained
        before and lies in the folder.
    positions, usual_length : see `TextPreprocessor`.

    Raises
    ------
    DataError : there is no tokenizer or image processor, or it can't be loaded.
    """
    if task.modality == "text":
        tokenizer, notes = _tokenizer(model_folder_or_id, task=task, spec=spec, texts=texts)
        return TextPreprocessor(
            tokenizer,
            spec.max_length,
            positions=positions,
            usual_length=usual_length,
            notes=notes,
            original_ids=_original_ids(model_folder_or_id),
        )
    if task.modality == "tensors":
        return TensorPreprocessor()
    if spec.image is not None or model_folder_or_id is None:
        return ImagePreprocessor(transform_of(spec.image or ImageSpec()))
    with reading(f"the image processor of {model_folder_or_id!r}", error=DataError):
        return reduce_processor(_load_processor(model_folder_or_id))


def transform_of(spec: ImageSpec) -> Transform:
    """The recipe's image preprocessing as plain constants."""
    lengths = [len(values) for values in (spec.mean, spec.std) if values is not None]
    return Transform(
        size=spec.size,
        channels=spec.channels or next(iter(lengths), None),
        mean=None if spec.mean is None else tuple(spec.mean),
        std=None if spec.std is None else tuple(spec.std),
    )


def _tokenizer(
    folder: str | None, *, task: Task, spec: DataSpec, texts: Iterable[str] | None
) -> tuple[Any, tuple[str, ...]]:
    """The tokenizer, and notes on what was decided about it."""
    notes: tuple[str, ...] = ()
    if isinstance(spec.tokenizer, TrainedTokenizer) and texts is not None:
        options = spec.tokenizer.train
        tokenizer = train_tokenizer(
            texts,
            options,
            generates=task.target == "next-token",
            max_length=spec.max_length or LENGTH_LIMIT,
        )
        fewer = len(tokenizer) < options.vocab_size
        asked = f" (of {options.vocab_size:,} asked for; the texts give no more)" if fewer else ""
        notes = (f"tokenizer: trained on the train split, {len(tokenizer):,} tokens{asked}.",)
    else:
        name = spec.tokenizer if isinstance(spec.tokenizer, str) else folder
        if name is None:
            raise DataError(
                "texts need a tokenizer: name its folder or hub id with 'data.tokenizer', or let "
                "one be trained with 'data.tokenizer: {train: {}}'."
            )
        tokenizer = _load_tokenizer(name)
    if task.target == "token-class" and not tokenizer.is_fast:
        raise DataError(
            f"token-classification needs a tokenizer that says which word a token is of (a fast "
            f"one, with a tokenizer.json). Got {type(tokenizer).__name__}."
        )
    if task.target == "next-token":
        notes += _for_blocks(tokenizer)
    else:
        notes += _padded_by_end(tokenizer, "the shorter texts of a batch")
    return tokenizer, notes


def _original_ids(folder: str | None) -> list[int] | None:
    """The ids that `TextPreprocessor.save` wrote beside a tokenizer whose vocabulary was cut."""
    path = None if folder is None else Path(folder) / ORIGINAL_IDS
    if path is None or not path.is_file():
        return None
    with reading(path, error=DataError):
        ids: list[int] = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(ids, list) or not all(type(number) is int and number >= 0 for number in ids):
        raise DataError(f"can't read {path}: it must hold a list of token numbers.")
    return ids


def _for_blocks(tokenizer: Any) -> tuple[str, ...]:
    """Make a tokenizer pad only the end of a stream of tokens; returns notes on changes."""
    notes = []
    if tokenizer.padding_side != "right":
        tokenizer.padding_side = "right"
        notes.append("tokenizer: pads on the right, the end of the last block.")
    return (*notes, *_padded_by_end(tokenizer, "the last block"))


def _padded_by_end(tokenizer: Any, what: str) -> tuple[str, ...]:
    """Pad with the end token if a tokenizer has no padding token; returns a note if it does so."""
    if tokenizer.pad_token_id is not None or tokenizer.eos_token_id is None:
        return ()
    tokenizer.pad_token = tokenizer.eos_token
    return (
        f"tokenizer: it has no padding token; {tokenizer.eos_token} pads {what}, and the attention "
        "mask tells padding from ends of texts.",
    )


def _load_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    _require_folder(name)
    with _loading("tokenizer", name):
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    # From a folder with only a config.json, transformers silently makes a tokenizer of special
    # tokens.
    folder = Path(name)
    if folder.is_dir() and tokenizer.is_fast and not _has_vocabulary(folder):
        raise DataError(
            f"'{folder}' holds no tokenizer (no tokenizer.json, vocab.txt or the like). Save it "
            "there with the model, or name another folder or hub id with 'data.tokenizer'."
        )
    return tokenizer


def _has_vocabulary(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in _VOCABULARIES)


def _load_processor(name: str) -> Any:
    from transformers import AutoImageProcessor

    _require_folder(name)
    with _loading("image processor", name):
        # A deployment without torchvision can repeat Pillow's pixels.
        return AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False)


def _require_folder(name: str) -> None:
    problem = folder_problem(name)
    if problem is not None and only_a_path(name):
        raise DataError(f"there is no folder {clipped(repr(name))}: {problem}.")


@contextmanager
def _loading(kind: str, name: str) -> Iterator[None]:
    """Load a tokenizer or an image processor quietly; a failure becomes a DataError."""
    other = (
        "Name one with 'data.tokenizer'"
        if kind == "tokenizer"
        else "Say how images become inputs with 'data.image'"
    )
    try:
        with quiet(), reading(name, error=DataError):
            yield
    except DataError as error:
        reason = why(error.__cause__ or error)
        raise DataError(
            f"the {kind} of {clipped(repr(name))} can't be loaded ({reason}) "
            f"{other}, or name a local folder that has one."
        ) from error
