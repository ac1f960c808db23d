"""The tasks that models are loaded for, and how each task's raw scores are read from a module."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.core.batch import model_inputs
from compress.errors import InputError, clipped, unknown
from compress.tasks.modules import answer_of_module, outputs_of_answer
from compress.tasks.outputs import HIDDEN, SENTENCE_EMBEDDING
from compress.tasks.pooling import mask_of, sentence_vectors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.core.context import Batch, Modality, Pooling, Target

WITHOUT_LABELS = frozenset({"agreement", "spearman", "recall_at_1", "recall_at_10"})
"""Metrics that compare a model with the reference and need no labels."""
LOWER_IS_BETTER = frozenset({"perplexity", "pseudo_perplexity"})
"""Metrics of built-in tasks for which lower is better."""


@dataclass(frozen=True)
class KnownTask:
    """A built-in task, by the kind of its samples and labels.

    Attributes
    ----------
    name : as in a recipe, such as "image-classification".
    modality : the kind of its samples.
    auto_class : the class of `transformers` that loads such models.
    summary : a line on what such a model answers.
    target : the kind of a sample's label.
    output_names : names of the outputs that models are compared by; `logits` returns the first one.
    beside : names of further outputs of the ONNX file.
    metrics : names of the metrics that fit, the default first.
    pooling, normalize : how an embedding is made, for the target "none"; a model may change them.
    """

    name: str
    modality: Modality
    auto_class: str
    summary: str
    target: Target = "class"
    output_names: tuple[str, ...] = ("logits",)
    metrics: tuple[str, ...] = ()
    pooling: Pooling = "mean"
    normalize: bool = True
    beside: tuple[str, ...] = ()

    def logits(self, module: nn.Module, inputs: Batch) -> Tensor:
        """Run a module; returns its output.

        A `transformers` model gets the inputs by name, any other module by position. Entries that
        aren't model inputs (such as `labels`) are left out. Models that generate text keep no
        cache.

        Returns
        -------
        Raw scores (N, C), for tokens (N, S, C); for `feature-extraction` the last hidden state
        (N, S, H), for `sentence-similarity` the embedding (N, H).

        Raises
        ------
        InputError : the module's answer has no such output.
        """
        return self.named_outputs(module, inputs)[self.output_names[0]]

    def named_outputs(self, module: nn.Module, inputs: Batch) -> dict[str, Tensor]:
        """The same as `logits`, under the output's name."""
        named = self.file_outputs(module, inputs)
        return {name: named[name] for name in self.output_names}

    def file_outputs(self, module: nn.Module, inputs: Batch) -> dict[str, Tensor]:
        """Run a module; return all outputs of its ONNX file by name."""
        given = model_inputs(inputs)
        answer = answer_of_module(module, given, generates=self.target == "next-token")
        if not self.pools:
            return outputs_of_answer(answer, self.output_names, task=self.name)
        hidden = outputs_of_answer(answer, (HIDDEN,), task=self.name)[HIDDEN]
        vectors = sentence_vectors(
            hidden, mask_of(given, hidden), pooling=self.pooling, normalize=self.normalize
        )
        return {SENTENCE_EMBEDDING: vectors, HIDDEN: hidden}

    @property
    def pools(self) -> bool:
        """True if a text's embedding is made inside of the graph."""
        return self.output_names == (SENTENCE_EMBEDDING,)

    def varying_axes(self, name: str, value: Tensor) -> Mapping[int, str]:
        """The axes of an input, besides the first, that may vary: the sequence of texts."""
        return {1: "sequence_length"} if self.modality == "text" else {}

    def default_metric(self, *, labelled: bool = True) -> str:
        """The metric that is used if the recipe names none.

        Parameters
        ----------
        labelled : whether the data has labels (`columns.label` isn't null).
        """
        fitting = self.metrics if labelled else self.metrics_without_labels
        return fitting[0]

    @property
    def metrics_without_labels(self) -> tuple[str, ...]:
        """Metrics that can be measured on data without labels."""
        if self.target == "next-token":  # the labels are the text's own tokens
            return self.metrics
        return tuple(name for name in self.metrics if name in WITHOUT_LABELS)


_OF_SCORES = ("auroc", "average_precision")
_CLASS = ("accuracy", "f1_macro", "top_5_accuracy", "matthews_corrcoef", *_OF_SCORES, "agreement")
_OF_RANKINGS = ("mrr", "ndcg_at_10", "retrieval_recall_at_1", "retrieval_recall_at_10")
_OF_PAIRS = (*_OF_RANKINGS, "cosine_spearman", "cosine_pearson")
_OF_EMBEDDINGS = ("spearman", "recall_at_1", "recall_at_10", *_OF_PAIRS)
_CLASS_SET = ("f1_micro", "f1_macro", *_OF_SCORES, "agreement")

TASKS: dict[str, KnownTask] = {
    task.name: task
    for task in (
        KnownTask(
            "image-classification",
            "image",
            "AutoModelForImageClassification",
            "The class of an image.",
            metrics=_CLASS,
        ),
        KnownTask(
            "text-classification",
            "text",
            "AutoModelForSequenceClassification",
            "The class of a text, or of a pair of texts.",
            metrics=_CLASS,
        ),
        KnownTask(
            "multi-label-image-classification",
            "image",
            "AutoModelForImageClassification",
            "Any number of classes of an image.",
            target="class-set",
            metrics=_CLASS_SET,
        ),
        KnownTask(
            "multi-label-text-classification",
            "text",
            "AutoModelForSequenceClassification",
            "Any number of classes of a text.",
            target="class-set",
            metrics=_CLASS_SET,
        ),
        KnownTask(
            "token-classification",
            "text",
            "AutoModelForTokenClassification",
            "A class for each word of a text, such as names of persons and places.",
            target="token-class",
            metrics=("accuracy", "f1_macro", "f1_entities", "agreement"),
        ),
        KnownTask(
            "feature-extraction",
            "text",
            "AutoModel",
            "A vector for a text (an embedding).",
            target="none",
            output_names=(HIDDEN,),
            metrics=_OF_EMBEDDINGS,
        ),
        KnownTask(
            "sentence-similarity",
            "text",
            "AutoModel",
            "A vector for a text, made inside of the model's graph; how alike texts are.",
            target="none",
            output_names=(SENTENCE_EMBEDDING,),
            beside=(HIDDEN,),
            metrics=_OF_EMBEDDINGS,
        ),
        KnownTask(
            "text-generation",
            "text",
            "AutoModelForCausalLM",
            "The next token of a text, and so its continuation.",
            target="next-token",
            metrics=("perplexity", "accuracy"),
        ),
    )
}
"""Every built-in task by its name."""


def unknown_task(name: str, names: Iterable[str]) -> str:
    """The sentence for an unknown task, with the nearest of the known ones.

    Names end alike: one is near if what stands before its last word is.
    """
    listed, given = list(names), clipped(name).replace("_", "-")
    near = difflib.get_close_matches(given, listed, n=1, cutoff=0.85)
    stem, *others = [one.rpartition("-")[0] for one in (given, *near)]
    apart = [other for other in others if stem and other]
    alike = near and all(difflib.SequenceMatcher(None, stem, one).ratio() >= 0.6 for one in apart)
    return unknown("task", name, listed, nearness=1.0) + (
        f" Did you mean {near[0]!r}?" if alike else ""
    )


def task(name: str) -> KnownTask:
    """The built-in task of that name; see `compress.tasks.registry` for all others.

    Raises
    ------
    InputError : there is no such task.
    """
    found = TASKS.get(name)
    if found is None:
        raise InputError(unknown_task(name, TASKS))
    return found
