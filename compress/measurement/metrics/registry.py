"""Every quality metric, by the kind of the labels and by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from compress.core.context import Pooling, Target, Task
from compress.core.foreign.entries import import_entry
from compress.errors import InputError, unknown
from compress.measurement.metrics import classes, embeddings, retrieval, tokens
from compress.measurement.metrics.entities import f1_entities
from compress.measurement.metrics.own import own_tally
from compress.measurement.metrics.scored import Scored, top_accuracy
from compress.measurement.metrics.tally import Score, Tally
from compress.measurement.spec import OwnMetric
from compress.tasks import class_metrics
from compress.tasks.contract import Task as OwnTask
from compress.tasks.contract import TaskMetric
from compress.tasks.task import LOWER_IS_BETTER, WITHOUT_LABELS

__all__ = ["METRICS", "Metric", "Score", "metric_named"]


@dataclass(frozen=True)
class Metric:
    """One quality metric.

    Attributes
    ----------
    name : name of the metric, such as "accuracy".
    tally : makes a new tally from the names of the classes.
    most_samples : largest number of samples that it reads; None: any number.
    higher_is_better : whether higher values are better.
    needs_reference : whether it compares the model's answers with the reference's.
    """

    name: str
    tally: Callable[[Sequence[str]], Tally]
    most_samples: int | None = None
    higher_is_better: bool = True
    needs_reference: bool = False


def _metric(name: str, tally: Callable[[], Tally], most_samples: int | None = None) -> Metric:
    return Metric(
        name,
        lambda labels: tally(),
        most_samples,
        higher_is_better=name not in LOWER_IS_BETTER,
        needs_reference=name in WITHOUT_LABELS,
    )


def _scored(name: str, function: Callable[..., float]) -> Metric:
    return _metric(name, lambda: Scored(name, function))


def _table(*metrics: Metric) -> Mapping[str, Metric]:
    return {metric.name: metric for metric in metrics}


_ALL_PAIRS = embeddings.MOST_SAMPLES


def _of_embeddings(pooling: Pooling) -> Mapping[str, Metric]:
    return _table(
        _metric("spearman", lambda: embeddings.spearman(pooling), _ALL_PAIRS),
        _metric("recall_at_1", lambda: embeddings.recall(1, pooling), _ALL_PAIRS),
        _metric("recall_at_10", lambda: embeddings.recall(10, pooling), _ALL_PAIRS),
        _of_rankings("mrr", retrieval.mrr, pooling),
        _of_rankings("ndcg_at_10", retrieval.ndcg_at_10, pooling),
        _of_rankings("retrieval_recall_at_1", retrieval.recall_at(1), pooling),
        _of_rankings("retrieval_recall_at_10", retrieval.recall_at(10), pooling),
        _metric("cosine_spearman", lambda: retrieval.PairCorrelation(ranked=True, pooling=pooling)),
        _metric("cosine_pearson", lambda: retrieval.PairCorrelation(ranked=False, pooling=pooling)),
    )


def _of_rankings(name: str, metric: retrieval.OfQuery, pooling: Pooling) -> Metric:
    return _metric(name, lambda: retrieval.Retrieval(metric, pooling))


METRICS: Mapping[Target, Mapping[str, Metric]] = {
    "class": _table(
        _metric("accuracy", lambda: classes.Classes(classes.accuracy)),
        _metric("f1_macro", lambda: classes.Classes(classes.f1_macro)),
        Metric("top_5_accuracy", top_accuracy),
        _scored("matthews_corrcoef", class_metrics.matthews_corrcoef),
        _scored("auroc", class_metrics.auroc),
        _scored("average_precision", class_metrics.average_precision),
        _metric("agreement", classes.class_agreement),
    ),
    "class-set": _table(
        _metric("f1_micro", classes.set_f1_micro),
        _metric("f1_macro", classes.set_f1_macro),
        _scored("auroc", class_metrics.auroc),
        _scored("average_precision", class_metrics.average_precision),
        _metric("agreement", classes.set_agreement),
    ),
    "token-class": _table(
        _metric("accuracy", tokens.token_accuracy),
        _metric("f1_macro", tokens.token_f1_macro),
        Metric("f1_entities", f1_entities),
        _metric("agreement", tokens.token_agreement),
    ),
    "next-token": _table(
        _metric("perplexity", tokens.perplexity),
        _metric("accuracy", tokens.next_token_accuracy),
    ),
    "none": _of_embeddings("mean"),
}


def metric_named(name: str, *, task: Task, labels: Sequence[str] = ()) -> Metric:
    """The metric of that name.

    Parameters
    ----------
    task : its own metrics, or those of the kind of its labels, are looked up.
    labels : class names, for metrics that read them.

    Raises
    ------
    InputError : there is no such metric, or it doesn't fit these class names.
    """
    known = _metrics_of(task)
    if name not in known:
        raise InputError(unknown("metric", name, known))
    found = known[name]
    found.tally(labels)
    return found


def metric_of(
    given: str | OwnMetric | None, *, task: Task, labels: Sequence[str], labelled: bool
) -> Metric:
    """The metric that a recipe asks for.

    Parameters
    ----------
    given : its name, the user's own, or None for the task's default.
    labelled : whether the data has labels.

    Raises
    ------
    InputError : there is no such metric, or it doesn't fit these class names.
    """
    if isinstance(given, OwnMetric):
        found, better = import_entry(given.python), given.higher_is_better
        if not isinstance(found, TaskMetric):
            return _own(TaskMetric(given.name, higher_is_better=better, of_all=found))
        if found.higher_is_better != better and "higher_is_better" in given.model_fields_set:
            raise InputError(
                f"higher_is_better of {given.python} is {found.higher_is_better}, and the recipe "
                f"says {better}. Leave it out."
            )
        return _own(replace(found, name=given.name))
    name = given or task.default_metric(labelled=labelled)
    return metric_named(name, task=task, labels=labels)


def _metrics_of(task: Task) -> Mapping[str, Metric]:
    if isinstance(task, OwnTask):
        return _table(*(_own(metric) for metric in task.table_of_metrics()))
    return METRICS[task.target] if task.target != "none" else _of_embeddings(task.pooling)


def _own(metric: TaskMetric) -> Metric:
    return Metric(
        metric.name,
        lambda labels: own_tally(metric),
        higher_is_better=metric.higher_is_better,
        needs_reference=not metric.needs_labels,
    )
