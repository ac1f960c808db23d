import copy
import json
from dataclasses import replace

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from compress.errors import StageError
from compress.tasks.task import task
from compress.training import epochs as epochs_module
from compress.training.loop import fit
from compress.training.options import Augment, TrainingOptions
from compress.training.validation.scores import Score


def bytes_of(module):
    return [tensor.numpy().tobytes() for tensor in module.state_dict().values()]


@pytest.fixture
def train(digits, make_context, artifact, cnn, cross_entropy):
    def run(module=None, *, data=None, loss=None, context=None, **options):
        return fit(
            module or cnn,
            loss=loss or cross_entropy,
            artifact=artifact,
            context=context or make_context(data or digits),
            options=TrainingOptions(
                **({"epochs": 1, "batch_size": 64, "learning_rate": 3e-3} | options)
            ),
            description="train",
        )

    return run


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": "bf16"},
        {"optimizer": "sgd", "learning_rate": 0.05, "schedule": "cosine"},
    ],
)
def test_a_small_cnn_learns_digits(train, cnn, options):
    before = bytes_of(cnn)
    fitted = train(epochs=5, batch_size=16, **options)
    assert max(epoch.validation.value for epoch in fitted.history) > 0.9
    assert bytes_of(cnn) == before
    assert not fitted.module.training
    assert {p.dtype for p in fitted.module.parameters()} == {torch.float32}
    assert all(p.is_contiguous() and p.grad is None for p in fitted.module.parameters())


def test_the_returned_module_scores_as_its_note_says(train, digits):
    fitted = train(epochs=2)
    images, labels = digits.splits["validation"]
    with torch.no_grad():
        accuracy = (fitted.module(images).argmax(1) == labels).float().mean().item()
    best = max(epoch.validation.value for epoch in fitted.history)
    assert accuracy == pytest.approx(best, abs=1e-6)
    assert f"validation accuracy {best:.4f}" in fitted.notes[0]


def test_same_seed_same_bytes_other_seed_others(train, make_context, digits):
    options = {"augment": Augment(crop=1, flip=True), "precision": "bf16"}
    runs = [train(context=make_context(digits, seed=seed), **options) for seed in (7, 7, 8)]
    first, second, other = (bytes_of(run.module) for run in runs)
    assert first == second
    assert first != other


def test_torchs_own_random_state_and_threads_are_left_as_they_were(train, make_context, digits):
    torch.manual_seed(3)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train(context=make_context(digits, threads=threads + 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_accumulated_batches_equal_one_batch(train, digits, tensors):
    images, labels = digits.splits["train"]
    # 90 = one full group of 4 x 16 and a last one of 16 + 10: both must weigh samples alike.
    data = tensors({"train": (images[:90], labels[:90]), "validation": (images[:32], labels[:32])})
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    same = {"optimizer": "sgd", "learning_rate": 0.5, "weight_decay": 0.1, "epochs": 2}
    small = train(module, data=data, batch_size=16, accumulation_steps=4, **same)
    large = train(module, data=data, batch_size=64, **same)
    for one, other in zip(small.module.parameters(), large.module.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert small.history[0].losses["loss"] == pytest.approx(
        large.history[0].losses["loss"], rel=1e-5
    )


def test_gradients_are_clipped(train):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))

    def steep(module, batch):
        return 1e4 * module(batch["pixel_values"]).square().mean()

    plain = {"optimizer": "sgd", "schedule": "constant", "warmup": 0, "weight_decay": 0}
    fitted = train(
        module, loss=steep, batch_size=1300, learning_rate=0.5, max_grad_norm=0.1, **plain
    )
    moved = fitted.module[1].weight - module[1].weight
    # One Nesterov step from rest is learning rate x (1 + momentum) x gradient.
    assert moved.norm().item() == pytest.approx(0.5 * 1.9 * 0.1, rel=1e-3)


def test_the_best_epoch_is_returned_not_the_last(train):
    # Right labels in the first epoch, then wrong ones: the last epoch is the worst.
    seen = {"steps": 0}

    def spoiling(module, batch):
        seen["steps"] += 1
        wrong = (batch["labels"] + 1) % 10
        labels = batch["labels"] if seen["steps"] <= 21 else wrong
        return nn.functional.cross_entropy(module(batch["pixel_values"]), labels)

    fitted = train(loss=spoiling, epochs=3, schedule="constant")
    accuracies = [epoch.validation.value for epoch in fitted.history]
    assert accuracies[0] > 0.5 > accuracies[-1]
    seen["steps"] = 0
    alone = train(loss=spoiling, epochs=1, schedule="constant", warmup=0.3)
    assert fitted.notes[0].startswith("kept epoch 1 of 3")
    # Warm-up of 10 % of 63 steps is 7 steps, as is 30 % of 21 (rounded up): the same first epoch.
    assert bytes_of(fitted.module) == bytes_of(alone.module)


def test_equal_accuracy_goes_to_the_lower_loss():
    def score(accuracy, loss):
        return Score(
            "accuracy", higher_is_better=True, figures={"accuracy": accuracy, "loss": loss}
        )

    assert score(0.9, 0.3).beats(score(0.9, 0.4))
    assert not score(0.9, 0.4).beats(score(0.9, 0.4))
    assert not score(0.8, 0.1).beats(score(0.9, 0.4))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_its_step(train, bad):
    seen = {"steps": 0}

    def failing(module, batch):
        seen["steps"] += 1
        loss = module(batch["pixel_values"]).square().mean()
        return {"steady": loss, "odd": loss * bad if seen["steps"] == 13 else loss}

    with pytest.raises(StageError, match=rf"\(odd\) became {bad} at optimizer step 13\."):
        train(loss=failing)
    assert AcceleratorState._shared_state == {}


def test_fp16_on_a_cpu_is_refused(train):
    with pytest.raises(StageError, match="fp16 needs a GPU"):
        train(precision="fp16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_a_clear_sentence(train, make_context, digits):
    with pytest.raises(StageError, match="torch sees no GPU"):
        train(context=make_context(digits, device="cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_gpu_trains_in_half_precision(train, make_context, digits, precision):
    fitted = train(context=make_context(digits, device="cuda"), precision=precision, epochs=8)
    assert max(epoch.validation.value for epoch in fitted.history) > 0.9
    assert next(fitted.module.parameters()).device.type == "cpu"


def test_bf16_computes_in_bf16_and_channels_last(train):
    seen = set()

    def watching(module, batch):
        images = batch["pixel_values"]
        logits = module(images)
        seen.add((logits.dtype, images.is_contiguous(memory_format=torch.channels_last)))
        return nn.functional.cross_entropy(logits.float(), batch["labels"])

    train(loss=watching, precision="bf16")
    assert seen == {(torch.bfloat16, True)}


def test_the_module_trains_in_train_mode_and_frozen_parameters_stay(train, cnn):
    module = copy.deepcopy(cnn)
    module[0].requires_grad_(False)
    modes = set()

    def watching(module, batch):
        modes.add(module.training)
        return nn.functional.cross_entropy(module(batch["pixel_values"]), batch["labels"])

    fitted = train(module, loss=watching, epochs=2)
    assert modes == {True}
    assert torch.equal(fitted.module[0].weight, module[0].weight)
    assert not torch.equal(fitted.module[3].weight, module[3].weight)


def test_nothing_trainable_is_refused(train, cnn):
    with pytest.raises(StageError, match="nothing to train"):
        train(copy.deepcopy(cnn).requires_grad_(False))


def test_a_single_left_over_sample_does_not_break_batch_norm(train, digits, tensors):
    images, labels = digits.splits["train"]
    data = tensors({"train": (images[:65], labels[:65]), "validation": (images[:32], labels[:32])})
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))
    fitted = train(module, data=data, batch_size=32, epochs=2)
    assert "2 samples in training batches of one were left out" in fitted.notes[1]


def test_augmentation_of_text_is_refused(train, make_context, digits):
    text = replace(make_context(digits), task=task("text-classification"))
    with pytest.raises(StageError, match=r"'augment' are for images\. Got texts"):
        train(context=text, augment=Augment(flip=True))


def test_history_is_written_and_progress_has_live_losses(train, make_context, digits, tmp_path):
    infos = []

    class Watching:
        total = 0

        def track(self, description, total):
            self.total = total
            return self

        def __enter__(self):
            def advance(steps=1, *, info=""):
                self.total -= steps
                infos.append(info)

            return advance

        def __exit__(self, *_):
            return None

        def say(self, line):
            infos.append(line)

    progress = Watching()
    fitted = train(context=make_context(digits, progress=progress), epochs=2)
    assert progress.total == 0
    assert any(info.startswith("loss ") for info in infos)
    written = json.loads((tmp_path / "training.json").read_text())
    assert [epoch["epoch"] for epoch in written["epochs"]] == [1, 2]
    assert written["schema"] == 2
    assert written["epochs"][1]["validation"]["figures"] == fitted.history[1].validation.figures
    assert [point["step"] for point in written["curve"]] == [1, 10, 20, 30, 40]
    assert written["epochs"][0]["losses"].keys() == {"loss"}


def test_two_precisions_in_one_process_and_a_callers_own_accelerator(train):
    from accelerate import Accelerator

    outer = Accelerator(cpu=True, mixed_precision="no")
    try:
        train(precision="bf16")
        train(precision="fp32")
        assert outer.mixed_precision == "no"
        assert AcceleratorState._shared_state["_mixed_precision"] == "no"
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_the_learning_rate_of_each_step_is_what_the_schedule_says(train, monkeypatch):
    rates = []
    original = epochs_module.set_learning_rate

    def noting(optimizer, learning_rate):
        rates.append(learning_rate)
        original(optimizer, learning_rate)

    monkeypatch.setattr(epochs_module, "set_learning_rate", noting)
    train(batch_size=130, learning_rate=1.0, warmup=0.2, max_grad_norm=0.01)
    assert rates == pytest.approx([0.5, 1.0, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
