"""The result of loading a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.core.artifact import ModelSource
from compress.models.folder.sentence_transformers import SentenceModel

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model, with everything that came with it.

    Attributes
    ----------
    module : the module, in fp32 and eval mode on the CPU.
    source : rebuilds its skeleton.
    labels : class names in the order of the logits; empty if the model has none.
    folder : folder or hub id of its tokenizer or image processor; None if it has none.
    notes : what was initialised, converted or left out, and why.
    untrained_head : parameters of its head that its files lack; they are random.
    sentence : the steps of a sentence-transformers model; None for any other.
    """

    module: nn.Module
    source: ModelSource
    labels: tuple[str, ...]
    folder: str | None
    notes: tuple[str, ...]
    untrained_head: tuple[str, ...] = ()
    sentence: SentenceModel | None = None
