"""What a step computes doesn't depend on how its samples were cut."""

import pytest
import torch

from compress.errors import StageError
from compress.training.distributed.sharding import Sharding
from compress.training.loop import fit
from compress.training.options import TrainingOptions
from tests.training.tokens import ARTIFACT, Sentences, TwoParts, context, tagger

PLAIN = {"optimizer": "sgd", "learning_rate": 0.5, "epochs": 2, "weight_decay": 0.1}


def train(tmp_path, loss=None, data=None, **options):
    return fit(
        tagger(),
        loss=loss or TwoParts(),
        artifact=ARTIFACT,
        context=context(data or Sentences(), tmp_path),
        options=TrainingOptions(**(PLAIN | options)),
        description="train",
    )


@pytest.mark.parametrize(("batch", "steps"), [(4, 3), (2, 6), (1, 12), (5, 2)])
def test_micro_batches_equal_one_batch_whatever_counts_in_them(tmp_path, batch, steps):
    large, own = TwoParts(), TwoParts()
    whole = train(tmp_path, large, batch_size=batch * steps)
    cut = train(tmp_path, own, batch_size=batch, accumulation_steps=steps)
    for one, other in zip(
        [*whole.module.parameters(), *large.parameters()],
        [*cut.module.parameters(), *own.parameters()],
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    for name in ("tags", "size"):
        losses = [fitted.history[0].losses[name] for fitted in (whole, cut)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_averaging_over_samples_alone_would_not_be_equal(tmp_path):
    # The data of the test above tells the two apart.
    def uncounted(student, batch):
        return TwoParts()(student, batch)

    whole = train(tmp_path, uncounted, batch_size=12)
    cut = train(tmp_path, uncounted, batch_size=4, accumulation_steps=3)
    assert not torch.allclose(whole.module.head.weight, cut.module.head.weight, atol=1e-3)


def test_a_losss_own_parameters_train_and_stay_out_of_the_result(tmp_path):
    loss = TwoParts()
    before = loss.projection.weight.clone()
    fitted = train(tmp_path, loss)
    assert not torch.equal(loss.projection.weight, before)
    assert fitted.module.state_dict().keys() == tagger().state_dict().keys()
    assert fitted.history[-1].losses["size"] < fitted.history[0].losses["size"]


def test_a_part_that_is_not_counted_is_refused(tmp_path):
    loss = TwoParts()
    loss.counts = lambda batch: {"tags": 1}
    with pytest.raises(StageError, match="counts tags, but has 'size' too"):
        train(tmp_path, loss)


def test_bf16_stays_near_fp32(tmp_path):
    exact = train(tmp_path, batch_size=12, epochs=5)
    rough = train(tmp_path, batch_size=12, epochs=5, precision="bf16")
    assert rough.history[-1].losses["tags"] == pytest.approx(
        exact.history[-1].losses["tags"], rel=0.05
    )
    moved = (exact.module.head.weight - tagger().head.weight).norm()
    apart = (exact.module.head.weight - rough.module.head.weight).norm()
    assert 0 < apart < 0.05 * moved


@pytest.mark.parametrize("samples", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("smallest", [1, 2])
def test_slices_hold_every_sample_once(samples, smallest):
    batch = {"x": torch.arange(samples), "labels": torch.zeros(samples)}
    cuts = [Sharding(index, 4, smallest).cut(batch) for index in range(4)]
    counted = [own["x"] for own, counts in cuts if counts]
    assert torch.equal(torch.cat(counted), batch["x"])
    assert all(len(own["x"]) >= min(smallest, samples) for own, _ in cuts)
