"""What can't be pruned is named; nothing is skipped in silence."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from transformers import MobileBertConfig, MobileBertForSequenceClassification

from compress.errors import StageError, TargetError
from compress.pruning.options import CutOptions, Target
from compress.pruning.prune import prune
from tests.models.structure.small_models import IMAGE, TEXT, make

IMAGES = {"pixel_values": torch.rand(2, 1, 8, 8)}


def halve(module, inputs=IMAGES, task=IMAGE, **options):
    return prune(
        module.eval(),
        CutOptions(target=Target(macs=0.5), **options),
        example_inputs=inputs,
        task=task,
    )


@pytest.mark.parametrize("values", [{}, {"macs": 0.5, "params": 0.5}, {"macs": 0}, {"params": 1.0}])
def test_targets_are_one_fraction(values):
    with pytest.raises(ValidationError):
        Target.model_validate(values)


def test_a_module_of_an_output_layer_alone_is_refused_by_name():
    with pytest.raises(
        StageError, match=r"Sequential has no channels .* as they make the model's output: 1"
    ):
        halve(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))


def test_families_that_are_not_described_are_traced_and_lose_channels():
    config = MobileBertConfig(
        vocab_size=20,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        embedding_size=8,
        intra_bottleneck_size=16,
        true_hidden_size=16,
    )
    module = MobileBertForSequenceClassification(config)
    inputs = {"input_ids": torch.ones(1, 4, dtype=torch.long)}
    result = halve(module, inputs, TEXT, round_to=1)
    assert result.after.macs == pytest.approx(0.5 * result.before.macs, rel=0.02)
    with pytest.raises(StageError, match=r"\(model_type 'mobilebert'\) can't lose heads"):
        halve(module, inputs, TEXT, units=("heads",))


def test_families_laid_out_otherwise_are_refused():
    module, inputs, task = make("bert")
    del module.bert.encoder.layer[0:3]
    with pytest.raises(StageError, match="doesn't have the layout"):
        halve(module, inputs, task)


def test_nothing_to_cut_gives_the_reasons():
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(StageError, match=r"no channels .* as they make the model's output: 0"):
        halve(module)


class NamesSizes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3)
        self.out = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.out(self.conv(images).view(-1, 16, 36).mean(2))
        return answer


class ReadsItsWidth(NamesSizes):
    def forward(self, images: Tensor) -> Tensor:
        hidden = self.conv(images)
        answer: Tensor = self.out((hidden / hidden.shape[1]).mean((2, 3)))
        return answer


@pytest.mark.parametrize(
    ("module", "part"),
    [(NamesSizes(), "code names their number"), (ReadsItsWidth(), "computes with their")],
)
def test_misunderstood_structures_are_found_out(module, part):
    with pytest.raises(StageError, match=part):
        halve(module, round_to=2)


class MixesPlaces(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3)
        self.mix = nn.Linear(36, 36)
        self.out = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.out(self.mix(self.conv(images).flatten(2)).mean(2))
        return answer


def test_macs_that_can_not_be_foretold_are_no_target():
    with pytest.raises(TargetError, match=r"predicted as .* A target of params can be met"):
        prune(
            MixesPlaces().eval(),
            CutOptions(target=Target(macs=0.9), round_to=1),
            example_inputs=IMAGES,
            task=IMAGE,
        )
    options = CutOptions(target=Target(params=0.95), round_to=1)
    result = prune(MixesPlaces().eval(), options, example_inputs=IMAGES, task=IMAGE)
    assert result.after.params == pytest.approx(0.95 * result.before.params, rel=0.02)


def test_targets_out_of_reach_say_the_best():
    module, inputs, task = make("bert")
    with pytest.raises(TargetError, match=r"macs: 0.01 can't be met .* as little as 0\.\d+"):
        prune(module, CutOptions(target=Target(macs=0.01)), example_inputs=inputs, task=task)
    with pytest.raises(TargetError, match="nearest is"):
        prune(
            module,
            CutOptions(
                target=Target(macs=0.9), tolerance=0.02, units=("feed_forward",), round_to=48
            ),
            example_inputs=inputs,
            task=task,
        )
