"""The tasks that models are loaded for, and how each task's raw scores are read from a module."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from compress.core.batch import model_inputs
from compress.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.core.context import Batch, Target

Modality = Literal["image", "text"]


@dataclass(frozen=True)
class Task:
    """What a model is for.

    Attributes
    ----------
    name : as in a recipe, such as "image-classification".
    modality : what its samples are.
    auto_class : the class of `transformers` that loads such models.
    target : what a sample's label is.
    output_names : of the ONNX outputs; the first one is what `logits` returns.
    metrics : names of the metrics that fit, the default first; empty where the task isn't run
        whole yet (its models load, nothing measures them).
    """

    name: str
    modality: Modality
    auto_class: str
    target: Target = "class"
    output_names: tuple[str, ...] = ("logits",)
    metrics: tuple[str, ...] = ()

    def logits(self, module: nn.Module, inputs: Batch) -> Tensor:
        """Run a module; returns its raw scores, (N, C) for classification.

        A `transformers` model gets the inputs by name, any other module in their order. `labels`
        among the inputs are left out.

        Raises
        ------
        InputError : the module's answer has no such output.
        """
        given = model_inputs(inputs)
        answer = module(**given) if _by_name(module) else module(*given.values())
        return self._scores(answer)

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
    # A transformers model exists only where transformers is imported: no need to import it here.
    transformers = sys.modules.get("transformers")
    return transformers is not None and isinstance(module, transformers.PreTrainedModel)


_CLASSIFICATION = ("accuracy", "f1_macro")

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "image-classification",
            "image",
            "AutoModelForImageClassification",
            metrics=_CLASSIFICATION,
        ),
        Task(
            "text-classification",
            "text",
            "AutoModelForSequenceClassification",
            metrics=_CLASSIFICATION,
        ),
        Task(
            "token-classification", "text", "AutoModelForTokenClassification", target="token-class"
        ),
        Task(
            "feature-extraction",
            "text",
            "AutoModel",
            target="none",
            output_names=("last_hidden_state",),
        ),
        Task("text-generation", "text", "AutoModelForCausalLM", target="next-token"),
    )
}
"""Every task by its name."""


def task(name: str) -> Task:
    """The task of that name.

    Raises
    ------
    InputError : there is none.
    """
    found = TASKS.get(name)
    if found is None:
        raise InputError(unknown("task", name, TASKS))
    return found
