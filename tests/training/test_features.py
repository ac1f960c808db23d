"""Early stopping, memory and speed options, trackers, the 8-bit optimizer."""

import importlib.util
import json

import pytest
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from compress.errors import StageError
from compress.training.acceleration import is_convolutional, placed_batch, placed_copy
from compress.training.loop import fit
from compress.training.options import Augment, TrainingOptions


@pytest.fixture
def train(digits, make_context, artifact, cnn, cross_entropy):
    def run(module=None, *, loss=None, context=None, **options):
        return fit(
            module or cnn,
            loss=loss or cross_entropy,
            artifact=artifact,
            context=context or make_context(digits),
            options=TrainingOptions(
                **({"epochs": 1, "batch_size": 64, "learning_rate": 3e-3} | options)
            ),
            description="train",
        )

    return run


@pytest.fixture
def vit():
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=10,
        hidden_dropout_prob=0.1,
    )
    return ViTForImageClassification(config).eval()


def by_name(module, batch):
    logits = module(pixel_values=batch["pixel_values"]).logits
    return nn.functional.cross_entropy(logits.float(), batch["labels"])


def test_training_stops_when_it_gets_no_better(train):
    def worse(module, batch):  # away from the labels: validation falls from the first epoch on
        return -nn.functional.cross_entropy(module(batch["pixel_values"]), batch["labels"])

    fitted = train(loss=worse, epochs=9, early_stopping=2, learning_rate=1e-2)
    best = int(fitted.notes[0].split()[2])
    assert len(fitted.history) == best + 2 < 9
    assert f"of {best + 2} (of 9: it got no better)" in fitted.notes[0]


def test_gradient_checkpointing_gives_the_same_weights(train, vit):
    plain = train(vit, loss=by_name)
    frugal = train(vit, loss=by_name, gradient_checkpointing=True)
    for one, other in zip(plain.module.parameters(), frugal.module.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    assert not frugal.module.is_gradient_checkpointing


def test_gradient_checkpointing_of_a_plain_module_is_refused(train):
    with pytest.raises(
        StageError, match=r"needs a transformers model that supports it\. Got a Seq"
    ):
        train(gradient_checkpointing=True)


@pytest.mark.slow
def test_a_compiled_module_learns_the_same(train):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval()
    plain, compiled = train(module), train(module, compile=True)
    for one, other in zip(plain.module.parameters(), compiled.module.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    assert compiled.module._compiled_call_impl is None


def test_eight_bit_adamw_learns(train):
    pytest.importorskip("bitsandbytes")
    fitted = train(epochs=5, batch_size=16, optimizer="adamw_8bit")
    assert max(epoch.validation.value for epoch in fitted.history) > 0.9


def test_a_missing_package_is_named(train, monkeypatch):
    found = importlib.util.find_spec
    absent = ("bitsandbytes", "tensorboard", "mlflow")
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in absent else found(name, *rest),
    )
    with pytest.raises(StageError, match=r"needs bitsandbytes: pip install 'compress\[bits"):
        train(optimizer="adamw_8bit")
    with pytest.raises(StageError, match=r"'mlflow', which isn't installed: pip install 'compre"):
        train(trackers=("mlflow",))


def test_tensorboard_gets_losses_and_scores(train, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fitted = train(trackers=("tensorboard",), epochs=2)
    events = EventAccumulator(str(tmp_path / "compress")).Reload()
    scores = [event.value for event in events.Scalars("validation/accuracy")]
    assert scores == pytest.approx([epoch.validation.value for epoch in fitted.history])
    assert len(events.Scalars("train/loss")) == 5


@pytest.mark.slow
def test_mlflow_gets_losses_and_scores(train, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = mlflow.get_tracking_uri()
    fitted = train(trackers=("mlflow",))
    assert mlflow.get_tracking_uri() == before
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient((tmp_path / "mlflow").as_uri())
    [experiment] = client.search_experiments(filter_string="name = 'compress'")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["validation/accuracy"] == pytest.approx(
        fitted.history[0].validation.value
    )
    assert run.data.params["epochs"] == "1"


def test_each_part_of_a_loss_is_shown_and_kept(train, make_context, digits, tmp_path):
    infos = []

    class Watching:
        def track(self, description, total):
            return self

        def __enter__(self):
            return lambda steps=1, *, info="": infos.append(info)

        def __exit__(self, *_):
            return None

        def say(self, line):
            infos.append(line)

    def parts(module, batch):
        logits = module(batch["pixel_values"])
        return {
            "labels": nn.functional.cross_entropy(logits, batch["labels"]),
            "size": 0.01 * logits.square().mean(),
        }

    fitted = train(loss=parts, context=make_context(digits, progress=Watching()))
    assert any(
        info.startswith("loss ") and " (labels " in info and ", size " in info for info in infos
    )
    written = json.loads((tmp_path / "training.json").read_text())
    assert written["curve"][-1]["losses"].keys() == {"labels", "size"}
    assert fitted.history[0].losses.keys() == {"labels", "size"}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_kernels_in_channels_last_memory_learn_from_compressed_gradients(train, cnn, optimizer):
    options = {"learning_rate": 0.03} if optimizer == "sgd" else {}
    fitted = train(
        cnn,
        epochs=6,
        batch_size=16,
        optimizer=optimizer,
        gradient_compression={"rank_ratio": 0.25},
        **options,
    )
    assert max(epoch.validation.value for epoch in fitted.history) > 0.9


def test_compressed_gradients_still_learn_and_the_notes_tell_the_bytes(train):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).eval()
    fitted = train(module, epochs=8, gradient_compression={"rank_ratio": 0.1})
    assert max(epoch.validation.value for epoch in fitted.history) > 0.85
    assert any("instead of 19,240 bytes" in note for note in fitted.notes)


def test_a_gradient_that_is_not_finite_names_its_step(train):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 10)).eval()
    seen = {"steps": 0}

    def failing(module, batch):
        seen["steps"] += 1
        loss = module(batch["pixel_values"]).square().mean()
        # The loss is finite, its gradient is not.
        return loss + 0 * (loss * 0).sqrt() if seen["steps"] == 3 else loss

    with pytest.raises(StageError, match=r"gradients weren't finite at optimizer step 3"):
        train(module, loss=failing, gradient_compression={"rank_ratio": 0.1})


@pytest.mark.parametrize("augment", [{"mixup": 0.4, "cutmix": 1.0}, {"crop": 1, "variants": 2}])
def test_augmented_digits_are_learned(digits, make_context, artifact, cnn, augment):
    from dataclasses import replace

    def loss(module, batch):
        return nn.functional.cross_entropy(module(batch["pixel_values"]), batch["labels"])

    named = replace(artifact, labels=tuple("0123456789"))
    options = TrainingOptions(
        epochs=5, batch_size=32, learning_rate=3e-3, augment=Augment(**augment)
    )
    runs = [
        fit(
            cnn,
            loss=loss,
            artifact=named,
            context=make_context(digits, seed=2),
            options=options,
            description="train",
        )
        for _ in range(2)
    ]
    assert max(epoch.validation.value for epoch in runs[0].history) > 0.8
    for one, other in zip(runs[0].module.parameters(), runs[1].module.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("channels", "stride", "laid_out"), [(4, 2, False), (4, 1, True), (8, 2, True)]
)
def test_narrow_strided_products_keep_plain_memory(channels, stride, laid_out):
    """Their gradients in channels-last memory overwrite other memory on CPUs without AVX-512."""
    module = nn.Sequential(nn.Conv2d(1, channels, 3), nn.Conv2d(channels, 8, 1, stride=stride))
    assert is_convolutional(module) is laid_out
    images = torch.rand(2, 8, 8, 3).permute(0, 3, 1, 2)
    grey = torch.rand(2, 8, 8, 1).permute(0, 3, 1, 2)
    batch = placed_batch(
        {"pixel_values": images}, device=torch.device("cpu"), channels_last=laid_out
    )
    for tensor in (placed_copy(module, device="cpu")[1].weight.detach(), batch["pixel_values"]):
        assert tensor.is_contiguous() or laid_out
    assert torch.equal(batch["pixel_values"], images)
    assert batch["pixel_values"].is_contiguous() is not laid_out
    plain = placed_batch({"pixel_values": grey}, device=torch.device("cpu"), channels_last=False)
    assert plain["pixel_values"].stride() == (64, 64, 8, 1)
