"""What can't be pruned is named; nothing is skipped in silence."""

import pytest
import torch
from pruning_models import IMAGE, TEXT, make
from pydantic import ValidationError
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertForSequenceClassification

from compress.errors import StageError, TargetError
from compress.pruning.options import CutOptions, Target
from compress.pruning.prune import prune

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


def test_modules_without_convolutions_are_refused_by_name():
    with pytest.raises(StageError, match=r"structure of Sequential: .* vit"):
        halve(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))


def test_unknown_families_are_refused_by_name():
    config = AlbertConfig(
        vocab_size=20, hidden_size=8, num_attention_heads=2, intermediate_size=8, embedding_size=4
    )
    module = AlbertForSequenceClassification(config)
    with pytest.raises(StageError, match=r"AlbertForSequenceClassification \(model_type 'albert'"):
        halve(module, {"input_ids": torch.ones(1, 4, dtype=torch.long)}, TEXT)


def test_families_laid_out_otherwise_are_refused():
    module, inputs, task = make("bert")
    del module.bert.encoder.layer[0:3]
    with pytest.raises(StageError, match="isn't laid out"):
        halve(module, inputs, task)


def test_nothing_to_cut_gives_the_reasons():
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(StageError, match=r"no channels .* as they make the model's output: 0"):
        halve(module)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.GroupNorm(2, 16), "as GroupNorm mixes their channels: 0"),
        (nn.Conv2d(16, 16, 1, groups=4), "as Conv2d mixes their channels: 0, 1"),
    ],
)
def test_channels_that_are_mixed_are_left_alone_with_a_note(layer, reason):
    module = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        layer,
        nn.ReLU(),
        nn.Conv2d(16, 64, 3),
        nn.ReLU(),
        nn.Conv2d(64, 3, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    result = halve(module, round_to=1)
    assert any(reason in note for note in result.notes)
    assert result.module[0].out_channels == 16


class NamesSizes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3)
        self.out = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.out(self.conv(images).view(-1, 16, 36).mean(2))
        return answer


class Shuffles(NamesSizes):
    def forward(self, images: Tensor) -> Tensor:
        hidden = self.conv(images)
        n, c, h, w = hidden.shape
        hidden = hidden.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        answer: Tensor = self.out(hidden.mean((2, 3)))
        return answer


@pytest.mark.parametrize(
    ("module", "part"), [(NamesSizes(), "doesn't run"), (Shuffles(), "misunderstood")]
)
def test_misunderstood_structures_are_found_out(module, part):
    with pytest.raises(StageError, match=part):
        halve(module, round_to=2)


def test_targets_out_of_reach_say_the_best():
    module, inputs, task = make("bert")
    with pytest.raises(TargetError, match=r"macs: 0.01 can't be met .* as little as 0\.\d+"):
        prune(module, CutOptions(target=Target(macs=0.01)), example_inputs=inputs, task=task)
    with pytest.raises(TargetError, match="nearest is"):
        prune(
            module,
            CutOptions(target=Target(macs=0.9), units=("feed_forward",), round_to=48),
            example_inputs=inputs,
            task=task,
        )
