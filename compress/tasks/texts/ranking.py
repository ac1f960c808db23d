"""Rerankers: a cross-encoder scores each document of a query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import LABELS, about_key
from compress.errors import InputError, StageError, expected
from compress.tasks.contract import Output, Task, TaskMetric
from compress.tasks.metrics import quotient
from compress.tasks.ranking_metrics import Placed, ndcg, placed, recall, reciprocal_rank
from compress.tasks.texts.checks import require_text
from compress.tasks.texts.documents import documents_in, gains_in

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.artifact import Preprocessor
    from compress.core.context import Batch
    from compress.tasks.contract import Arrays

SCORES = "logits"
_QUERY = about_key("query")
"""Entry of a batch: (P,) for each pair the place in the batch of its query's first one."""
_SCRIPTS = Path(__file__).parents[1] / "scripts"
LOSSES = ("listwise", "pointwise")
DISTANCES = ("margin_mse", "listwise")


class TextRanking(Task):
    """The order of a query's documents, by a score of each pair of both.

    A sample has the fields query, documents (a list of texts) and label: a gain for each document,
    or the number of the only relevant one. It is a row, or the rows of a query with a document
    each. A sequence classification head of `transformers` with
    one number scores a pair. A batch holds pairs; those of a query stay together as far as the
    batch reaches.

    Parameters
    ----------
    loss : how scores are compared with labels: by the softmax over a query's documents, or each
        pair by itself.
    distance : how scores are compared with a teacher's: by the margins between a query's documents,
        or by the softened softmax over them.

    Raises
    ------
    InputError : there is no such loss or distance.
    """

    name = "text-ranking"
    modality = "text"
    outputs = (Output(SCORES, "values"),)
    columns = ("query", "documents")
    auto_class = "AutoModelForSequenceClassification"
    problem_type = "regression"
    listed = MappingProxyType({"documents": "document"})
    label_words = (
        "a list of a gain of at least 0 for each document, or the number, from 0, of the only "
        "relevant one; where a row has one document, its gain"
    )
    script_file = _SCRIPTS / "text_ranking.py.txt"
    model_file = _SCRIPTS / "text_ranking.mjs.txt"
    keeps_samples_whole = True

    def __init__(self, loss: str = "listwise", distance: str = "margin_mse") -> None:
        for name, value, known in (("loss", loss, LOSSES), ("distance", distance, DISTANCES)):
            if value not in known:
                raise InputError(expected(name, f"one of {', '.join(known)}", value))
        self.loss_name, self.distance = loss, distance

    def table_of_metrics(self) -> Sequence[TaskMetric]:
        """Return NDCG@10, MRR@10, recall of the first, and agreement with the reference's first.

        Queries without a relevant document don't count. See `compress.tasks.ranking_metrics`.
        """
        return (
            _of_queries("ndcg_at_10", lambda found: ndcg(found, most=10)),
            _of_queries("mrr_at_10", lambda found: reciprocal_rank(found, most=10)),
            _of_queries("recall_at_1", lambda found: recall(found, most=1)),
            TaskMetric("agreement", needs_labels=False, rows=_both, joined=_same_first),
        )

    def check_sample(self, sample: Mapping[str, Any], *, preprocessor: Preprocessor) -> None:
        """Require a query, documents, and a label that fits them; see `Task`."""
        require_text(sample["query"], "query")
        documents = documents_in(sample["documents"])
        if LABELS in sample:
            gains_in(sample[LABELS], documents)

    def windows(self, sample: Mapping[str, Any], *, preprocessor: Preprocessor) -> int:
        """Return the number of documents, each of which is scored by itself; see `Task`."""
        return len(documents_in(sample["documents"]))

    def collate(
        self,
        samples: Sequence[Mapping[str, Any]],
        *,
        preprocessor: Preprocessor | None = None,
        fixed_length: bool = False,
    ) -> dict[str, Tensor]:
        """Return token ids and masks (P, S) of pairs, and gains (P,) float32; see `Task`.

        A sample without a window's number stands for its first document.
        """
        from compress.tasks.texts.batches import ranking_batch

        return ranking_batch(samples, preprocessor, key=_QUERY, fixed_length=fixed_length)

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Return the loss against gains that the task's arguments name.

        Raises
        ------
        StageError : the batch has no labels.
        """
        from compress.tasks.texts import ranking_losses

        if LABELS not in batch:
            raise StageError(f"{self.name}: a batch has no labels. It has: {', '.join(batch)}.")
        scores = outputs[SCORES].float().reshape(-1)
        if self.loss_name == "pointwise":
            return ranking_losses.pointwise(scores, batch[LABELS])
        return ranking_losses.listwise(scores, batch[LABELS], batch[_QUERY])

    def compare(
        self,
        student: Mapping[str, Tensor],
        teacher: Mapping[str, Tensor],
        batch: Batch,
        *,
        temperature: float = 1.0,
    ) -> Tensor:
        """Return the distance from a teacher's scores that the task's arguments name.

        Margins have no temperature.
        """
        from compress.tasks.texts import ranking_losses

        ours, theirs = (outputs[SCORES].float().reshape(-1) for outputs in (student, teacher))
        if self.distance == "margin_mse":
            return ranking_losses.margin_mse(ours, theirs, batch.get(LABELS), batch[_QUERY])
        return ranking_losses.listwise_divergence(
            ours, theirs, batch[_QUERY], temperature=temperature
        )


def _of_queries(name: str, function: Callable[[Placed], float]) -> TaskMetric:
    """The mean of a metric over the queries that have a relevant document."""

    def joined(pairs: Any) -> Any:
        value = function(placed(pairs[:, 0], pairs[:, 1]))
        return np.array([0.0, 0.0] if np.isnan(value) else [value, 1.0])

    return TaskMetric(name, rows=_judged, value=quotient, joined=joined)


def _judged(outputs: Arrays, labels: Arrays) -> Any:
    """The score and the gain of each pair, (P, 2)."""
    return np.stack([_scores(outputs), labels[LABELS].astype(np.float64)], axis=1)


def _both(outputs: Arrays, reference: Arrays) -> Any:
    """Both models' score of each pair, (P, 2)."""
    return np.stack([_scores(outputs), _scores(reference)], axis=1)


def _same_first(pairs: Any) -> Any:
    """Whether both models put the same document of a query first, (1,)."""
    ours, theirs = pairs.argmax(0)
    return np.array([float(ours == theirs)])


def _scores(outputs: Arrays) -> Any:
    return outputs[SCORES].reshape(-1).astype(np.float64)
