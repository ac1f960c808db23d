"""How often intervals hold the truth, and tests find what is there, over simulated models."""

from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from compress.core.batch import PAIRS
from compress.measurement.intervals import wilson
from compress.measurement.metrics.classes import f1_macro
from compress.measurement.metrics.embeddings import spearman
from compress.measurement.metrics.registry import METRICS
from compress.measurement.metrics.tally import Answer, Sums
from compress.measurement.paired.bootstrap import paired_bootstrap
from compress.measurement.paired.mcnemar import (
    Discordant,
    exact_p,
    score_interval,
    smallest_significant,
)

exact_p, score_interval = cache(exact_p), cache(score_interval)


def discordant(samples, gained, lost, *, times, seed=0):
    """Counts of samples that one of two models alone answers right, in simulated test sets."""
    chances = [gained, lost, 1 - gained - lost]
    drawn = np.random.default_rng(seed).multinomial(samples, chances, size=times)
    return [Discordant(int(more), int(less), samples) for more, less, _ in drawn]


def rejected(*given, **options):
    return np.mean([exact_p(each) < 0.05 for each in discordant(*given, **options)])


@pytest.mark.parametrize("chance", [0.05, 0.5, 0.88])
def test_wilson_holds_the_proportion_in_95_percent(chance):
    counts = np.arange(151)
    held = [low <= chance <= high for low, high in (wilson(int(k), 150) for k in counts)]
    assert 0.93 <= binom.pmf(counts, 150, chance)[held].sum() <= 0.98


@pytest.mark.parametrize("chance", [0.01, 0.03, 0.1])
def test_mcnemar_sees_a_difference_of_equal_models_in_at_most_5_percent(chance):
    assert rejected(500, chance, chance, times=1000) <= 0.05 + 0.015


def test_mcnemar_finds_the_smallest_difference_half_of_the_time_and_more_soon_after():
    smallest = smallest_significant(Discordant(50, 50, 1000))
    found = [
        rejected(1000, 0.05 + change / 2, 0.05 - change / 2, times=1000)
        for change in (smallest, 1.43 * smallest, 2 * smallest)
    ]
    assert 0.4 <= found[0] <= 0.6
    assert 0.7 <= found[1] <= 0.9
    assert found[2] >= 0.97


@pytest.mark.parametrize(("gained", "lost"), [(0.06, 0.03), (0.02, 0.02), (0.08, 0.0)])
def test_the_score_interval_holds_the_difference_in_95_percent(gained, lost):
    drawn = map(score_interval, discordant(300, gained, lost, times=600))
    held = np.mean([low <= gained - lost <= high for low, high in drawn])
    assert 0.93 <= held <= 0.99


class Losses:
    """Simulated perplexities: of each sample two models' losses, which are alike."""

    def __init__(self, ratio, samples=80, times=100):
        generator = np.random.default_rng(7)
        self.samples, self.truth = samples, 2.0
        of_sample = generator.gamma(4, 0.5, (times, samples))
        own = generator.gamma(9, 1 / 9, (2, times, samples))
        self.losses = of_sample * own * np.array([ratio, 1.0])[:, None, None]

    def scores(self):
        for pair in zip(*self.losses, strict=True):
            yield [self.score(losses) for losses in pair]

    def score(self, losses):
        def rows(answer):
            return np.stack([answer.scores, np.ones(self.samples)], axis=1)

        tally = Sums(rows, lambda sums: np.exp(sums[:, 0] / sums[:, 1]))
        tally.add(Answer(losses, {}))
        return tally.score(seed=0)


def test_bootstraps_of_a_perplexity_and_of_a_difference_of_two():
    held, alike, rejected = [], [], []
    for ours, theirs in Losses(1.0).scores():
        held.append(ours.ci95[0] <= np.exp(2.0) <= ours.ci95[1])
        (low, high), p_value = paired_bootstrap(ours.draws - theirs.draws, samples=80)
        alike.append(low <= 0 <= high)
        rejected.append(p_value < 0.05)
    assert 0.89 <= np.mean(held) <= 0.99
    assert alike == [not one for one in rejected]
    assert 0.005 <= np.mean(rejected) <= 0.1


def test_a_paired_bootstrap_finds_what_the_intervals_of_the_two_would_hide():
    found, apart = [], []
    for ours, theirs in Losses(1.2, times=30).scores():
        found.append(paired_bootstrap(ours.draws - theirs.draws, samples=80)[1] < 0.05)
        apart.append(ours.ci95[0] > theirs.ci95[1])
    assert np.mean(found) >= 0.8
    assert np.mean(apart) <= 0.1


def test_a_paired_bootstrap_of_f1_over_classes():
    generator = np.random.default_rng(3)
    rejected, found = [], []
    for _ in range(30):
        labels = generator.integers(0, 3, 150)
        scores = [
            f1_macro(np.where(generator.random(150) < right, labels, (labels + 1) % 3), labels)
            for right in (0.8, 0.8, 0.6)
        ]
        for name, other in ((rejected, scores[1]), (found, scores[2])):
            changes = scores[0].draws - other.draws
            name.append(paired_bootstrap(changes, samples=150)[1] < 0.05)
    assert np.mean(rejected) <= 0.17
    assert np.mean(found) >= 0.85


def test_the_interval_of_f1_over_classes_holds_the_truth():
    generator, held = np.random.default_rng(5), []
    for _ in range(60):
        labels = generator.integers(0, 3, 150)
        said = np.where(generator.random(150) < 0.8, labels, (labels + 1) % 3)
        low, high = f1_macro(said, labels).ci95
        held.append(low <= 0.8 <= high)  # every class has precision and recall of 0.8
    assert np.mean(held) >= 0.88


def test_the_interval_of_spearman_holds_the_truth():
    generator = np.random.default_rng(1)

    def score(samples):
        tally = spearman("mean")
        vectors = generator.normal(size=(samples, 1, 3))
        near = vectors + 0.5 * generator.normal(size=vectors.shape)
        tally.add(Answer(near, {}, reference=Answer(vectors, {})))
        return tally.score(seed=0)

    truth = score(500).value
    held = [low <= truth <= high for low, high in (score(60).ci95 for _ in range(100))]
    assert np.mean(held) >= 0.88


def test_every_metric_keeps_what_it_is_compared_by():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(12, 5, 6)).astype(np.float32)
    labels = {
        "class": generator.integers(0, 6, 12),
        "class-set": (generator.random((12, 6)) < 0.5).astype(np.float32),
        "token-class": generator.integers(0, 6, (12, 5)),
        "next-token": generator.integers(0, 6, (12, 5)),
        "none": np.zeros(12),
    }
    of_pair = np.repeat(np.arange(6.0), 2)
    pairs = np.stack([of_pair, of_pair, np.tile([0.0, 1.0], 6), of_pair + 1], axis=1)
    names = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG")
    for target, metrics in METRICS.items():
        given = scores[:, 0] if target in ("class", "class-set") else scores
        answer = Answer(given, {"labels": labels[target], PAIRS: pairs})
        for metric in metrics.values():
            tally = metric.tally(names)
            tally.add(Answer(given, answer.batch, reference=answer))
            score = tally.score(seed=0)
            assert score.held is not None or score.draws is not None, (target, metric.name)
