"""Metrics against other implementations of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import f1_score

from compress.errors import DataError, InputError, StageError
from compress.measurement.intervals import resampled
from compress.measurement.metrics.embeddings import cosines, nearest_found, pooled
from compress.measurement.metrics.entities import entities
from compress.measurement.metrics.registry import METRICS, metric_named
from compress.measurement.metrics.tally import Answer
from compress.tasks.task import TASKS

IOB2 = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def by_target(target):
    return next(task for task in TASKS.values() if task.target == target)


def measured(target, name, *answers, labels=(), seed=0):
    tally = metric_named(name, task=by_target(target), labels=labels).tally(labels)
    for answer in answers:
        tally.add(answer)
    score = tally.score(seed=seed)
    return (score.value, score.ci95), tally.samples


def tokens(generator, *, samples=6, length=5, classes=5):
    scores = generator.normal(size=(samples, length, classes))
    labels = generator.integers(0, classes, (samples, length))
    labels[generator.random((samples, length)) < 0.3] = -100
    labels[0] = -100
    return scores.astype(np.float32), labels


def halves(scores, batch, reference=None):
    """The same answer as two batches."""
    for part in (slice(0, 2), slice(2, None)):
        inner = {name: values[part] for name, values in batch.items()}
        other = None if reference is None else Answer(reference[part], inner)
        yield Answer(scores[part], inner, other)


def test_every_metric_of_a_task_is_there():
    for task in TASKS.values():
        assert tuple(METRICS[task.target]) == task.metrics
    assert not METRICS["next-token"]["perplexity"].higher_is_better
    with pytest.raises(InputError, match="unknown metric 'bleu'"):
        metric_named("bleu", task=TASKS["text-generation"])


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_token_metrics_agree_with_scikit_learn(seed):
    scores, labels = tokens(np.random.default_rng(seed))
    said, counted = scores.argmax(-1), labels != -100
    answers = list(halves(scores, {"labels": labels}))
    (value, (low, high)), samples = measured("token-class", "accuracy", *answers)
    assert value == pytest.approx((said == labels)[counted].mean())
    assert low <= value <= high
    assert samples == counted.any(1).sum()
    (value, _), _ = measured("token-class", "f1_macro", *answers)
    wanted = f1_score(labels[counted], said[counted], average="macro")
    assert value == pytest.approx(wanted)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_set_metrics_agree_with_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(9, 4)).astype(np.float32)
    labels = (generator.random((9, 4)) < 0.5).astype(np.float32)
    labels[0, 0] = 1
    labels[4] = -1  # not known
    known = labels[:, 0] >= 0
    for name, average in (("f1_micro", "micro"), ("f1_macro", "macro")):
        (value, (low, high)), samples = measured(
            "class-set", name, *halves(scores, {"labels": labels})
        )
        gold, said = labels[known], scores[known] > 0
        occurs = (gold.sum(0) + said.sum(0)) > 0
        assert value == pytest.approx(f1_score(gold[:, occurs], said[:, occurs], average=average))
        assert samples == 8
        assert 0 <= low <= high <= 1


def test_the_binary_heads_f1_is_that_of_its_class():
    scores = np.array([[2.0], [-1.0], [3.0], [-2.0]], np.float32)
    labels = np.array([[1.0], [1.0], [0.0], [0.0]], np.float32)
    for name in ("f1_micro", "f1_macro"):
        (value, _), _ = measured("class-set", name, Answer(scores, {"labels": labels}))
        assert value == pytest.approx(0.5)


def test_agreement_needs_no_label():
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(size=(2, 10, 3))
    (value, _), samples = measured("class", "agreement", *halves(ours, {}, theirs))
    assert value == (ours.argmax(1) == theirs.argmax(1)).mean()
    assert samples == 10
    (value, _), _ = measured("class-set", "agreement", *halves(ours, {}, theirs))
    assert value == ((ours > 0) == (theirs > 0)).all(1).mean()
    ours, theirs = generator.normal(size=(2, 6, 4, 3))
    mask = np.array([[1, 1, 0, 0]] * 5 + [[1, 1, 1, 1]])
    (value, _), _ = measured(
        "token-class", "agreement", *halves(ours, {"attention_mask": mask}, theirs)
    )
    same = ours.argmax(-1) == theirs.argmax(-1)
    assert value == pytest.approx(same[mask == 1].mean())


def test_perplexity_is_that_of_torch():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(5, 90, 7), scale=3).astype(np.float32)
    labels = generator.integers(0, 7, (5, 90))
    labels[1, 40:] = -100
    labels[2, 1:] = -100  # of a single token nothing is predicted
    answers = list(halves(scores, {"labels": labels}))
    (value, (low, high)), samples = measured("next-token", "perplexity", *answers)
    loss = torch.nn.functional.cross_entropy(
        torch.from_numpy(scores[:, :-1]).flatten(0, 1), torch.from_numpy(labels[:, 1:]).flatten()
    )
    assert value == pytest.approx(float(loss.exp()), rel=1e-5)
    assert 1 < low < value < high
    assert samples == 4
    (value, _), _ = measured("next-token", "accuracy", *answers)
    shifted, counted = labels[:, 1:], labels[:, 1:] != -100
    assert value == pytest.approx((scores[:, :-1].argmax(-1) == shifted)[counted].mean())


def test_an_even_distribution_is_as_perplexed_as_there_are_tokens():
    labels = np.arange(12).reshape(2, 6)
    answer = Answer(np.full((2, 6, 12), 3.5, np.float32), {"labels": labels})
    (value, ci95), _ = measured("next-token", "perplexity", answer)
    assert (value, *ci95) == pytest.approx((12, 12, 12))


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O O", set()),
        ("B-PER I-PER O B-PER", {("PER", 0, 2), ("PER", 3, 4)}),
        ("B-PER B-PER", {("PER", 0, 1), ("PER", 1, 2)}),
        ("I-PER I-PER B-LOC I-LOC", {("LOC", 2, 4)}),
        ("B-PER I-LOC I-LOC", {("PER", 0, 1)}),
        ("B-PER I-LOC I-PER", {("PER", 0, 1)}),
        ("B-LOC I-LOC I-PER B-LOC", {("LOC", 0, 2), ("LOC", 3, 4)}),
        ("", set()),
    ],
)
def test_entities_are_read_strictly(tags, found):
    assert entities(tags.split()) == found


def test_f1_of_entities_by_hand():
    def row(text):
        return [IOB2.index(tag) for tag in text.split()]

    gold = [row("B-PER I-PER O B-LOC"), row("B-LOC I-LOC O O")]
    said = [row("B-PER I-PER O B-PER"), row("B-LOC O O B-LOC")]
    scores = np.eye(5, dtype=np.float32)[np.array(said)]
    labels = np.array(gold)
    (value, _), samples = measured(
        "token-class", "f1_entities", Answer(scores, {"labels": labels}), labels=IOB2
    )
    # One of three labelled entities is found, four are said.
    assert value == pytest.approx(2 * 1 / (3 + 4))
    assert samples == 2
    # Sub-tokens between the words don't part an entity.
    spread = np.full((2, 8), -100)
    spread[:, ::2] = labels
    apart = np.repeat(scores, 2, axis=1)
    apart[:, 1::2] = np.eye(5)[0]
    (again, _), _ = measured(
        "token-class", "f1_entities", Answer(apart, {"labels": spread}), labels=IOB2
    )
    assert again == value


def test_f1_of_entities_needs_iob2():
    with pytest.raises(InputError, match=r"IOB2.*Got PER"):
        metric_named("f1_entities", task=TASKS["token-classification"], labels=("O", "PER"))
    with pytest.raises(InputError, match=r"IOB2.*Got O"):
        metric_named("f1_entities", task=TASKS["token-classification"], labels=("O",))
    answer = Answer(np.zeros((1, 2, 5), np.float32), {"labels": np.zeros((1, 2), int)})
    with pytest.raises(DataError, match="no sample has anything"):
        measured("token-class", "f1_entities", answer, labels=IOB2)


def embeddings(generator, count=30, noise=0.5):
    reference = generator.normal(size=(count, 4, 6))
    return reference + noise * generator.normal(size=(count, 4, 6)), reference


def test_spearman_is_that_of_scipy():
    model, reference = embeddings(np.random.default_rng(0))
    mask = np.ones((30, 4), int)
    mask[::2, 2:] = 0
    (value, (low, high)), samples = measured(
        "none", "spearman", *halves(model, {"attention_mask": mask}, reference)
    )
    upper = np.triu_indices(30, k=1)
    similarities = []
    for hidden in (model, reference):
        vectors = np.stack([row[kept == 1].mean(0) for row, kept in zip(hidden, mask, strict=True)])
        similarities.append(cosines(vectors)[upper])
    assert value == pytest.approx(spearmanr(*similarities).statistic)
    assert low < value < high < 1
    assert samples == 30


def test_a_model_agrees_with_itself_whatever_its_scale():
    _, reference = embeddings(np.random.default_rng(0))
    for name in ("spearman", "recall_at_1", "recall_at_10"):
        (value, (low, high)), _ = measured("none", name, *halves(3 * reference, {}, reference))
        assert value == pytest.approx(1)
        assert 0.85 < low <= high == pytest.approx(1)


def test_recall_counts_the_references_nearest():
    reference = np.array([[1, 0.9, 0.1, 0], [0.9, 1, 0.2, 0], [0.1, 0.2, 1, 0.5], [0, 0, 0.5, 1]])
    model = np.array([[1, 0.3, 0.5, 0], [0.3, 1, 0.2, 0], [0.5, 0.2, 1, 0.9], [0, 0, 0.9, 1]])
    # Of sample 0 the model's nearest is 2 (1 is second); of 1 it is 0, of 2 it is 3, of 3 it is 2.
    assert nearest_found(model, reference, most=1).sum() == 3
    assert nearest_found(model, reference, most=2).sum() == 4


def test_embeddings_that_cannot_be_compared():
    same = np.ones((4, 2, 3))
    with pytest.raises(StageError, match="equally similar"):
        measured("none", "spearman", *halves(same, {}, same))
    with pytest.raises(StageError, match="all zeros"):
        measured("none", "recall_at_1", *halves(0 * same, {}, same))
    with pytest.raises(DataError, match=r"needs 12 samples\. Got 4"):
        measured("none", "recall_at_10", *halves(same, {}, same))


def test_pooling_is_that_of_the_losses():
    from compress.tasks.pooling import mean_pool

    hidden = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1]])
    wanted = mean_pool(torch.from_numpy(hidden), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(pooled(Answer(hidden, {"attention_mask": mask})), wanted, rtol=1e-5)


def test_the_first_token_is_the_first_that_is_none_of_padding():
    hidden = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    mask = np.array([[0, 1, 1], [1, 1, 0]])
    found = pooled(Answer(hidden, {"attention_mask": mask}), "cls")
    assert found.tolist() == [[2, 3], [6, 7]]


def test_draws_are_of_all_samples_and_memory_stays_flat(monkeypatch):
    from compress.measurement import intervals

    monkeypatch.setattr(intervals, "_TOGETHER", 50)
    parts = list(resampled(20, seed=0, draws=7))
    assert [part.shape for part in parts] == [(2, 20), (2, 20), (2, 20), (1, 20)]
    assert all((part.sum(1) == 20).all() for part in parts)
    assert len({tuple(row) for part in parts for row in part}) == 7


def test_the_bootstrap_of_sums_is_over_samples():
    # A single bad sample among good ones: whether it is drawn decides the interval.
    labels = np.zeros((20, 10), int)
    scores = np.zeros((20, 10, 2), np.float32)
    scores[..., 0] = 1
    scores[0, :, 1] = 2
    (value, (low, high)), _ = measured(
        "token-class", "accuracy", Answer(scores, {"labels": labels})
    )
    assert value == pytest.approx(0.95)
    assert (low, high) == pytest.approx((0.85, 1.0), abs=0.051)
