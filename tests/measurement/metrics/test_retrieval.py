"""Metrics of queries and documents, against values by hand, scikit-learn and scipy."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import ndcg_score

from compress.core.batch import PAIRS
from compress.errors import DataError, StageError
from compress.measurement.metrics import retrieval
from compress.measurement.metrics.registry import metric_named
from compress.measurement.metrics.tally import Answer
from compress.measurement.paired.difference import difference
from compress.measurement.paired.kept import KeptAnswers
from compress.measurement.results import Quality
from compress.tasks.task import TASKS

FEATURES = TASKS["feature-extraction"]


def targets(queries, documents, scores=None):
    """The rows of the texts of pairs, by the numbers of their queries and documents."""
    count = len(queries)
    rows = np.zeros((2 * count, 4))
    rows[:, 0], rows[:, 1] = np.repeat(queries, 2), np.repeat(documents, 2)
    rows[1::2, 2] = 1
    rows[:, 3] = np.nan if scores is None else np.repeat(scores, 2)
    return rows


def answers(vectors, rows, *, batch):
    """Answers (N, 1, H) in batches: each text has one token."""
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        yield Answer(vectors[part, None], {PAIRS: rows[part]})


def measured(name, vectors, rows, *, batch=3):
    tally = metric_named(name, task=FEATURES).tally(())
    for answer in answers(vectors, rows, batch=batch):
        tally.add(answer)
    return tally.score(seed=0), tally.samples


def random_pairs(count=40, *, seed=0, noise=0.8):
    draw = np.random.default_rng(seed)
    queries = draw.normal(size=(count, 6))
    vectors = np.empty((2 * count, 6))
    vectors[::2], vectors[1::2] = queries, queries + noise * draw.normal(size=queries.shape)
    return vectors.astype(np.float32)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_ranks_by_hand():
    # Queries point to 0°, 90°, 200°; their documents to 10°, 5°, 190°.
    angles = np.radians([0, 10, 90, 5, 200, 190])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rows = targets([0, 1, 2], [0, 1, 2])
    # The first query's nearest is the second's document; the second's is the first's document.
    assert measured("mrr", vectors, rows)[0].value == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert measured("retrieval_recall_at_1", vectors, rows)[0].value == pytest.approx(1 / 3)
    assert measured("retrieval_recall_at_10", vectors, rows)[0].value == 1


@pytest.mark.parametrize("batch", [1, 3, 80])
@pytest.mark.parametrize("together", [50, 10**6])
def test_blocks_and_batches_decide_nothing(batch, together, monkeypatch):
    vectors, rows = random_pairs(), targets(range(40), range(40))
    whole, samples = measured("ndcg_at_10", vectors, rows, batch=80)
    monkeypatch.setattr(retrieval, "_SCORES_TOGETHER", together)
    parts, again = measured("ndcg_at_10", vectors, rows, batch=batch)
    assert parts.value == pytest.approx(whole.value, abs=1e-6)
    np.testing.assert_allclose(parts.draws, whole.draws, atol=1e-6)
    assert samples == again == 40


def test_ndcg_of_graded_pairs_is_scikit_learns():
    vectors = random_pairs(12)
    queries, documents = [0, 0, 0, 3, 3, 5, *range(6, 12)], [*range(10), 0, 4]
    for first, number in enumerate(queries):
        vectors[2 * first] = vectors[2 * number]
    for first, number in enumerate(documents):
        vectors[2 * first + 1] = vectors[2 * number + 1]
    gains = np.array([3.0, 0, 1, 2, 2, 1, 1, 1, 4, 1, 1, 1])
    found, samples = measured("ndcg_at_10", vectors, targets(queries, documents, gains))
    wanted = []
    for query in sorted(set(queries)):
        relevant = np.zeros(10)
        for pair, number in enumerate(queries):
            if number == query:
                relevant[documents[pair]] = gains[pair]
        scores = unit(vectors[1:20:2]) @ unit(vectors)[2 * query]
        wanted.append(ndcg_score([relevant], [scores], k=10))
    assert found.value == pytest.approx(np.mean(wanted), abs=1e-6)
    assert samples == len(wanted) == 9


def test_a_document_of_two_pairs_is_one_document():
    angles = np.radians([0, 20, 5, 20, 90, 1])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # Were the document at 20° counted twice, the third query would find its own at rank 3.
    found, _ = measured("mrr", vectors, targets([0, 1, 2], [0, 0, 2]))
    assert found.value == pytest.approx((1 / 2 + 1 / 2 + 1 / 2) / 3)


def test_correlations_of_scored_pairs_are_scipys():
    vectors = random_pairs()
    scores = np.random.default_rng(1).integers(0, 6, 40).astype(float)
    rows = targets(range(40), range(40), scores)
    cosines = (unit(vectors[::2]) * unit(vectors[1::2])).sum(1)
    for name, theirs in {"cosine_spearman": spearmanr, "cosine_pearson": pearsonr}.items():
        (value, (low, high), *_), samples = measured(name, vectors, rows)
        assert value == pytest.approx(theirs(cosines, scores).statistic, abs=1e-5)
        assert low < value < high
        assert samples == 40


def test_a_query_whose_document_a_limit_cut_off_does_not_count():
    vectors, rows = random_pairs(5), targets(range(5), range(5))
    assert measured("mrr", vectors[:9], rows[:9])[1] == 4


def test_two_models_are_compared_query_by_query():
    rows = targets(range(40), range(40))
    kept = []
    for noise in (0.8, 2.0):
        score, samples = measured("mrr", random_pairs(noise=noise), rows)
        quality = Quality("mrr", score.value, score.ci95, samples, higher_is_better=True)
        kept.append(KeptAnswers(quality, held=score.held, draws=score.draws))
    found = difference(kept[1], kept[0])
    assert found.verdict == "worse"
    assert found.test == "bootstrap"
    assert found.samples == 40


def test_what_cannot_be_measured_is_said():
    vectors, rows = random_pairs(3), targets(range(3), range(3))
    with pytest.raises(DataError, match="'text' and 'text_pair'"):
        metric_named("mrr", task=FEATURES).tally(()).add(Answer(vectors[:, None], {}))
    with pytest.raises(StageError, match="all zeros"):
        measured("mrr", 0 * vectors, rows)
    with pytest.raises(DataError, match="nothing correlates"):
        measured("cosine_pearson", vectors, targets(range(3), range(3), [1.0, 1.0, 1.0]))
