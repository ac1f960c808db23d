"""The best of several choices for a question or a beginning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import LABELS, about_key
from compress.tasks.contract import Output, Task, TaskMetric
from compress.tasks.texts.checks import require_text
from compress.tasks.texts.choices import choices_in, right_choice

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.artifact import Preprocessor
    from compress.core.context import Batch
    from compress.tasks.contract import Arrays

_SCORES = "logits"
_COUNT = about_key("choices")
"""Entry of a batch: (N,) the number of each sample's choices."""
_LOWEST = -1e9
"""The score of a choice that a sample doesn't have."""
_SCRIPT = Path(__file__).parents[1] / "scripts" / "multiple_choice.py.txt"


class MultipleChoice(Task):
    """The right one of a list of choices, as in SWAG and RACE.

    A sample has the fields question, choices (a list of texts, or several columns) and label. The
    model scores each pair of the question and a choice.
    """

    name = "multiple-choice"
    modality = "text"
    outputs = (Output(_SCORES, "classes"),)
    columns = ("question", "choices")
    class_names = False
    auto_class = "AutoModelForMultipleChoice"
    script_file = _SCRIPT

    def table_of_metrics(self) -> Sequence[TaskMetric]:
        """Return accuracy, and agreement with the reference; see `Task`."""
        return (
            TaskMetric("accuracy", rows=_right),
            TaskMetric("agreement", needs_labels=False, rows=_same),
        )

    def check_sample(self, sample: Mapping[str, Any], *, preprocessor: Preprocessor) -> None:
        """Require a question, choices, and a label that is one of these; see `Task`."""
        require_text(sample["question"], "question")
        choices = choices_in(sample["choices"])
        if LABELS in sample:
            right_choice(sample[LABELS], choices)

    def collate(
        self,
        samples: Sequence[Mapping[str, Any]],
        *,
        preprocessor: Preprocessor | None = None,
        fixed_length: bool = False,
    ) -> dict[str, Tensor]:
        """Return token ids and masks (N, C, S), and labels (N,); see `Task`.

        A sample with fewer choices than others repeats its first one, which no loss counts.
        """
        from compress.tasks.texts.batches import choice_batch

        return choice_batch(samples, preprocessor, fixed_length=fixed_length)

    def varying_axes(self, name: str, value: object) -> Mapping[int, str]:
        """Return the axes of choices and tokens; see `Task`."""
        return {1: "choices", 2: "sequence_length"}

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Return the mean cross-entropy over the choices that samples have."""
        return super().loss(_own(outputs, batch), batch)

    def compare(
        self,
        student: Mapping[str, Tensor],
        teacher: Mapping[str, Tensor],
        batch: Batch,
        *,
        temperature: float = 1.0,
    ) -> Tensor:
        """Return the softened KL divergence over the choices that samples have; see `Task`."""
        ours, theirs = _own(student, batch), _own(teacher, batch)
        return super().compare(ours, theirs, batch, temperature=temperature)


def _own(outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """The scores, the lowest for choices that a sample doesn't have."""
    import torch

    scores, counts = outputs[_SCORES], batch[_COUNT]
    absent = torch.arange(scores.shape[1], device=scores.device)[None] >= counts[:, None]
    return {_SCORES: scores.float().masked_fill(absent, _LOWEST)}


def _chosen(outputs: Arrays, counts: Any) -> Any:
    scores = outputs[_SCORES]
    return np.where(np.arange(scores.shape[1])[None] < counts[:, None], scores, -np.inf).argmax(1)


def _right(outputs: Arrays, labels: Arrays) -> Any:
    return (_chosen(outputs, labels[_COUNT]) == labels[LABELS]).astype(np.float64)


def _same(outputs: Arrays, reference: Arrays) -> Any:
    counts = reference[_COUNT]
    return (_chosen(outputs, counts) == _chosen(reference, counts)).astype(np.float64)
