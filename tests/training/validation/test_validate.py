import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from compress.errors import StageError
from compress.tasks.task import KnownTask
from compress.training.distributed.processes import Processes
from compress.training.loop import fit
from compress.training.options import TrainingOptions
from compress.training.validation.scores import BatchSums, labelled_sums, score_of
from tests.training.tokens import ARTIFACT, Sentences, TwoParts, context, tagger


def scored(target, logits, labels):
    """The score of batches whose logits are given."""
    task = KnownTask("some", "text", "AutoModel", "a summary", target=target)
    tally = BatchSums()
    for given, wanted in zip(logits, labels, strict=True):
        tally.add(labelled_sums(task, nn.Identity(), {"x": given, "labels": wanted}))
    return score_of(target, tally.total(Processes()))


def test_classes_are_scored_by_accuracy():
    logits = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 0, 2], [2, 0, 0]])
    labels = torch.tensor([0, 1, 0, -100])
    score = scored("class", [logits[:1], logits[1:]], [labels[:1], labels[1:]])
    assert (score.metric, score.higher_is_better) == ("accuracy", True)
    assert score.value == pytest.approx(2 / 3)
    assert score.loss == pytest.approx(nn.functional.cross_entropy(logits[:3], labels[:3]).item())
    assert str(score).startswith("accuracy 0.6667, loss ")


def test_class_sets_are_scored_by_loss_over_labelled_rows():
    logits = torch.randn(5, 3)
    labels = (torch.rand(5, 3) > 0.5).float()
    labels[2] = -1
    score = scored("class-set", [logits], [labels])
    known = [0, 1, 3, 4]
    loss = nn.functional.binary_cross_entropy_with_logits(logits[known], labels[known])
    assert (score.metric, score.higher_is_better) == ("loss", False)
    assert score.value == pytest.approx(loss.item())
    right = ((logits > 0) == (labels > 0.5))[known].float().mean().item()
    assert score.figures["accuracy"] == pytest.approx(right)


def test_next_tokens_are_scored_by_the_perplexity_of_shifted_tokens():
    logits, labels = torch.randn(2, 5, 7), torch.randint(7, (2, 5))
    labels[1, 3:] = -100
    score = scored("next-token", [logits], [labels])
    loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert (score.metric, score.higher_is_better) == ("perplexity", False)
    assert score.value == pytest.approx(math.exp(loss.item()))
    better = scored("next-token", [logits * 0], [labels])
    assert better.beats(score) == (better.value < score.value)


def test_nothing_labelled_has_no_score():
    assert scored("class", [torch.randn(2, 3)], [torch.tensor([-100, -100])]) is None


def train(tmp_path, data, kind=None, **options):
    given = context(data, tmp_path)
    if kind is not None:
        given = replace(given, task=replace(given.task, target=kind))
    return fit(
        tagger(),
        loss=TwoParts(),
        artifact=ARTIFACT,
        context=given,
        options=TrainingOptions(**({"epochs": 2, "batch_size": 8} | options)),
        description="train",
    )


def test_tokens_with_labels_are_scored(tmp_path):
    fitted = train(tmp_path, Sentences(), learning_rate=0.1, epochs=6)
    assert fitted.history[-1].validation.metric == "accuracy"
    assert max(epoch.validation.value for epoch in fitted.history) > 0.9


@pytest.mark.parametrize("kind", ["none", None])
def test_without_labels_the_training_loss_chooses(tmp_path, kind):
    data = Sentences(labels=False)
    fitted = train(tmp_path, data, kind, learning_rate=0.05)
    score = fitted.history[-1].validation
    assert (score.metric, score.higher_is_better) == ("loss", False)
    assert score.figures["tags loss"] == 0
    batch = data.batch(list(range(data.size("validation"))))
    loss = TwoParts()
    assert score.value == pytest.approx(score.figures["size loss"])
    assert score.value < loss(tagger(), batch)["size"].item()
    told = [note for note in fitted.notes if "no labels: the training loss" in note]
    assert len(told) == (kind is None)


def test_the_training_loss_is_averaged_over_what_counts(tmp_path):
    data = Sentences()
    plain = {"optimizer": "sgd", "learning_rate": 1e-9, "epochs": 1}
    score = train(tmp_path, data, "none", **plain).history[0].validation
    whole = TwoParts()(tagger(), data.batch(list(range(data.size("validation")))))
    assert score.figures["tags loss"] == pytest.approx(whole["tags"].item(), rel=1e-5)
    assert score.figures["size loss"] == pytest.approx(whole["size"].item(), rel=1e-5)


def test_an_empty_validation_split_is_refused(tmp_path):
    class Half(Sentences):
        def loader(self, split, preprocessor, **options):
            return super().loader(split, preprocessor, **options) if split == "train" else []

    with pytest.raises(StageError, match="validation split is empty"):
        train(tmp_path, Half())
