"""Numbers of texts: how alike two sentences are, how good a review is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.batch import labels_in
from compress.tasks.contract import Output, Task, TaskMetric
from compress.tasks.metrics import closeness, regression_metrics
from compress.tasks.texts.checks import require_text

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.artifact import Preprocessor

_SCRIPT = Path(__file__).parents[1] / "scripts" / "text_regression.py.txt"


class TextRegression(Task):
    """One number of a text or of a pair of texts, or several.

    A label is a number, or a list of them; NaN stands for none. A sequence classification head of
    `transformers` gives the numbers.

    Parameters
    ----------
    huber_delta : delta of the Huber loss by which the numbers are compared with a teacher's; None:
        the squared error. See `Output`.
    """

    name = "text-regression"
    modality = "text"
    columns = ("text",)
    also = ("text_pair",)
    auto_class = "AutoModelForSequenceClassification"
    problem_type = "regression"
    script_file = _SCRIPT

    def __init__(self, huber_delta: float | None = None) -> None:
        self.outputs = (Output("logits", "values", huber_delta=huber_delta),)

    def table_of_metrics(self) -> Sequence[TaskMetric]:
        """Return Pearson's correlation, the other metrics of regression, and R² to the reference.

        See `Task`.
        """
        named = {metric.name: metric for metric in regression_metrics("logits")}
        order = dict.fromkeys(("pearson", "spearman", *named))
        return (*(named[name] for name in order), closeness("logits"))

    def check_sample(self, sample: Mapping[str, Any], *, preprocessor: Preprocessor) -> None:
        """Require texts that aren't empty, and labels that are numbers; see `Task`."""
        from compress.tasks.texts.batches import numbers

        for name in ("text", "text_pair"):
            if name in sample:
                require_text(sample[name], name)
        for name, value in labels_in(sample).items():
            numbers([value], name)

    def collate(
        self,
        samples: Sequence[Mapping[str, Any]],
        *,
        preprocessor: Preprocessor | None = None,
        fixed_length: bool = False,
    ) -> dict[str, Tensor]:
        """Return token ids and masks (N, S), and labels (N,) or (N, K) float32; see `Task`."""
        from compress.tasks.texts.batches import encoded_texts, label_numbers

        inputs = encoded_texts(samples, preprocessor, fixed_length=fixed_length)
        return {**inputs, **label_numbers(samples)}
