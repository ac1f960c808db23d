"""BM25 as the rival of retrieval and of rankings, on small data."""

import numpy as np
import pytest

import compress
from compress.core.progress import Silent
from compress.data.dataset import load_data
from compress.data.spec import DataSpec
from compress.errors import DataError
from compress.measurement.baseline.bm25 import BM25
from compress.measurement.baseline.measure import measure_baseline, rival_of
from compress.measurement.metrics.registry import metric_named
from compress.recipe.load import recipe_from_dict
from compress.report import words
from compress.tasks.ranking_metrics import ndcg, placed
from compress.tasks.task import TASKS
from tests.tasks import texts

FEATURES = TASKS["feature-extraction"]


def retrieval(folder, **columns):
    """Queries that name a thing and a colour of their document."""
    data = texts.write_splits(folder, "sought", 120)
    return {**data, "columns": {"text": "query", "text_pair": "document", **columns}}


def loaded(given, task):
    return compress.load(model={"config": {**texts.CONFIG, "num_labels": 1}}, task=task, data=given)


def measured(given, task, name, **keys):
    artifact, context = loaded(given, task)
    metric = metric_named(name, task=context.task)
    found = measure_baseline(
        context.data,
        artifact.preprocessor,
        task=context.task,
        metric=metric,
        labels=(),
        **keys,
    )
    return found, context.data


def test_retrieval_is_judged_by_the_ranking_of_all_documents(tmp_path):
    found, data = measured(retrieval(tmp_path), "feature-extraction", "retrieval_recall_at_1")
    every = list(data.texts("test"))
    queries, documents = every[::2], every[1::2]
    corpus = list(dict.fromkeys(documents))
    scores = np.zeros((len(queries), len(corpus)))
    for terms in ("words", "characters"):
        part = BM25(terms)
        weights = part.fit(corpus)
        scores += (part.queries(queries) @ weights.T).toarray()
    relevant = {}
    for query, document in zip(queries, documents, strict=True):
        relevant.setdefault(query, set()).add(corpus.index(document))
    wanted = []
    for query, right in relevant.items():
        row = scores[queries.index(query)]
        gains = np.isin(np.arange(len(corpus)), list(right)).astype(float)
        at = placed(row, gains)
        wanted.append(float((np.clip(1 - at.higher, 0, at.tied) / at.tied).mean()))
    baseline = found.baseline
    assert baseline.quality.value == pytest.approx(np.mean(wanted))
    assert baseline.quality.samples == len(relevant)
    assert baseline.quality.ci95[0] <= baseline.quality.value <= baseline.quality.ci95[1]
    assert (baseline.name, baseline.kind) == ("BM25 of words and characters", "word matching")
    assert baseline.majority.value < 0.2 < baseline.quality.value
    assert 0 < baseline.call_ms < 1000
    assert baseline.notes[-1].endswith(
        f"a call ranks all {len(corpus)} documents for one query; a model's embeds one text"
    )


def test_a_limit_leaves_out_texts_as_it_does_for_models(tmp_path):
    found, _ = measured(retrieval(tmp_path), "feature-extraction", "mrr", limit=11)
    assert found.baseline.quality.samples == 5


def test_lists_are_ordered_by_what_train_says_of_words(tmp_path):
    given = texts.write_splits(tmp_path, "ranking", 60)
    found, data = measured(given, "text-ranking", "ndcg_at_10")
    train = [data.samples("train", np.array([at]))[0] for at in range(len(data.splits["train"]))]
    seen = list(dict.fromkeys(text for sample in train for text in sample["documents"]))
    parts = [BM25(terms) for terms in ("words", "characters")]
    for part in parts:
        part.fit(seen)
    wanted = []
    for at in range(len(data.splits["test"])):
        [sample] = data.samples("test", np.array([at]))
        scores = sum(
            (part.queries([sample["query"]]) @ part.documents(sample["documents"]).T).toarray()[0]
            for part in parts
        )
        wanted.append(ndcg(placed(scores, np.array(sample["labels"], float)), most=10))
    assert found.baseline.quality.value == pytest.approx(np.nanmean(wanted))
    assert found.baseline.quality.samples == len(wanted) == 20
    assert found.answers.quality == found.baseline.quality


def test_there_is_none_without_pairs_or_a_ranking(tmp_path):
    data = load_data(
        DataSpec.model_validate(retrieval(tmp_path, label="score")),
        task=FEATURES,
        labels=(),
        seed=0,
    )
    for name, kind in {
        "mrr": "word matching",
        "ndcg_at_10": "word matching",
        "cosine_spearman": None,
        "spearman": None,
    }.items():
        assert rival_of(data, FEATURES, metric_named(name, task=FEATURES)) == kind
    alone = DataSpec.model_validate({**retrieval(tmp_path), "columns": {"text": "query"}})
    data = load_data(alone, task=FEATURES, labels=(), seed=0)
    assert rival_of(data, FEATURES, metric_named("mrr", task=FEATURES)) is None


def test_documents_that_take_too_long_leave_no_rival(tmp_path):
    with pytest.raises(DataError, match="would take longer than 1e-07 seconds"):
        measured(retrieval(tmp_path), "feature-extraction", "mrr", seconds=1e-7)


def test_its_progress_ends_where_it_said(tmp_path):
    class Counted(Silent):
        done = total = 0

        def track(self, description, total):
            outer, context = self, super().track(description, total)
            if description != "training the baseline":
                return context
            outer.total = total

            class Counting:
                def __enter__(self):
                    context.__enter__()

                    def advance(steps=1, *, info=""):
                        outer.done += steps

                    return advance

                def __exit__(self, *error):
                    return context.__exit__(*error)

            return Counting()

    progress = Counted()
    measured(retrieval(tmp_path), "feature-extraction", "mrr", progress=progress)
    assert progress.done == progress.total > 0


@pytest.mark.parametrize(
    ("task", "metric"), [("feature-extraction", "mrr"), ("text-ranking", "ndcg_at_10")]
)
def test_a_run_compares_it_with_the_reference(task, metric, tmp_path):
    kind = "sought" if task == "feature-extraction" else "ranking"
    data = retrieval(tmp_path / "data") if kind == "sought" else {}
    values = texts.recipe(
        tmp_path / "data",
        kind,
        task=task,
        model={"config": {**texts.CONFIG, "num_labels": 1}},
        data=data,
        stages=[{"use": "export"}],
    )
    values["measure"] = {**values["measure"], "metric": metric, "baseline": "auto"}
    report = compress.run(recipe_from_dict(values), output=tmp_path / "run", threads=1)
    found, original = report.baseline, report.stages[0]
    assert found.quality.metric == original.quality.metric == metric
    assert found.verdict.test == "bootstrap"
    assert found.verdict.samples == original.quality.samples
    assert found.verdict.change == pytest.approx(found.quality.value - original.quality.value)
    said = words.baseline(report)
    assert said.startswith("Word matching ")
    assert f"BM25 of words and characters has {metric} {words.value(found.quality)}" in said
    if found.verdict.verdict != "worse":
        assert words.headlines(report)[0] == said
    values["measure"]["baseline"] = None
    without = compress.run(recipe_from_dict(values), output=tmp_path / "run", threads=1)
    assert without.baseline is None
