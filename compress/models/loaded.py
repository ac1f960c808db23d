"""A model as it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.core.artifact import ModelSource
from compress.models.folder.sentence_transformers import SentenceModel

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LoadedModel:
    """A model and what came with it.

    Attributes
    ----------
    module : in fp32 and eval mode on the CPU.
    source : rebuilds its skeleton.
    labels : class names in the order of the logits; empty where the model has none.
    folder : the folder or hub id that holds its tokenizer or image processor; None: it has none.
    notes : what was initialised, converted or left out, and why.
    untrained_head : parameters of its head that its files lack; they are random.
    sentence : what is done with a text around it, where a sentence-transformers folder says so.
    """

    module: nn.Module
    source: ModelSource
    labels: tuple[str, ...]
    folder: str | None
    notes: tuple[str, ...]
    untrained_head: tuple[str, ...] = ()
    sentence: SentenceModel | None = None
