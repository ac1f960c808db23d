"""The tasks that models are loaded for, and how each task's raw scores are read from a module."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from compress.core.batch import model_inputs
from compress.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.core.context import Batch, Pooling, Target

Modality = Literal["image", "text"]

WITHOUT_LABELS = frozenset({"agreement", "spearman", "recall_at_1", "recall_at_10"})
"""Metrics that compare a model with the reference and need no labels."""
LOWER_IS_BETTER = frozenset({"perplexity"})
"""Metrics for which lower is better."""


@dataclass(frozen=True)
class Task:
    """The task that a model is for.

    Attributes
    ----------
    name : as in a recipe, such as "image-classification".
    modality : the kind of its samples.
    auto_class : the class of `transformers` that loads such models.
    target : the kind of a sample's label.
    output_names : names of the ONNX outputs; `logits` returns the first one.
    metrics : names of the metrics that fit, the default first.
    pooling, normalize : how an embedding is made, for the target "none"; a model may change them.
    """

    name: str
    modality: Modality
    auto_class: str
    target: Target = "class"
    output_names: tuple[str, ...] = ("logits",)
    metrics: tuple[str, ...] = ()
    pooling: Pooling = "mean"
    normalize: bool = True

    def logits(self, module: nn.Module, inputs: Batch) -> Tensor:
        """Run a module; returns its first output.

        A `transformers` model gets the inputs by name, any other module by position. Entries that
        aren't model inputs (such as `labels`) are left out. Models that generate text keep no
        cache.

        Returns
        -------
        Raw scores (N, C), for tokens (N, S, C); for `feature-extraction` the last hidden state
        (N, S, H).

        Raises
        ------
        InputError : the module's answer has no such output.
        """
        given: dict[str, Any] = model_inputs(inputs)
        if not _by_name(module):
            return self._scores(module(*given.values()))
        if self.target == "next-token":
            given["use_cache"] = False
        return self._scores(module(**given))

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

    def _scores(self, answer: Any) -> Tensor:
        from torch import Tensor

        name = self.output_names[0]
        scores = answer if isinstance(answer, Tensor) else getattr(answer, name, None)
        if not isinstance(scores, Tensor):
            raise InputError(
                f"a model for {self.name} must return a tensor or an object with '{name}'. "
                f"Got {type(answer).__name__}."
            )
        return scores


def _by_name(module: nn.Module) -> bool:
    # A transformers model exists only if transformers is imported already.
    transformers = sys.modules.get("transformers")
    return transformers is not None and isinstance(module, transformers.PreTrainedModel)


_CLASS = ("accuracy", "f1_macro", "agreement")
_CLASS_SET = ("f1_micro", "f1_macro", "agreement")

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "image-classification",
            "image",
            "AutoModelForImageClassification",
            metrics=_CLASS,
        ),
        Task(
            "text-classification",
            "text",
            "AutoModelForSequenceClassification",
            metrics=_CLASS,
        ),
        Task(
            "multi-label-image-classification",
            "image",
            "AutoModelForImageClassification",
            target="class-set",
            metrics=_CLASS_SET,
        ),
        Task(
            "multi-label-text-classification",
            "text",
            "AutoModelForSequenceClassification",
            target="class-set",
            metrics=_CLASS_SET,
        ),
        Task(
            "token-classification",
            "text",
            "AutoModelForTokenClassification",
            target="token-class",
            metrics=("accuracy", "f1_macro", "f1_entities", "agreement"),
        ),
        Task(
            "feature-extraction",
            "text",
            "AutoModel",
            target="none",
            output_names=("last_hidden_state",),
            metrics=("spearman", "recall_at_1", "recall_at_10"),
        ),
        Task(
            "text-generation",
            "text",
            "AutoModelForCausalLM",
            target="next-token",
            metrics=("perplexity", "accuracy"),
        ),
    )
}
"""Every task by its name."""


def task(name: str) -> Task:
    """The task of that name.

    Raises
    ------
    InputError : there is no such task.
    """
    found = TASKS.get(name)
    if found is None:
        raise InputError(unknown("task", name, TASKS))
    return found
