"""Statistics of batch normalisation, taken anew."""

import copy

import torch
from torch import nn

from compress.tasks.task import task
from compress.training.batch_norm import has_statistics, reestimate

IMAGE = task("image-classification")


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(4 * 36, 3),
    ).eval()


def batches(sizes, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [{"pixel_values": 2 + torch.randn(n, 1, 8, 8, generator=generator)} for n in sizes]


def test_statistics_are_the_average_over_the_batches_and_nothing_else_changes():
    module = network()
    before = copy.deepcopy(module.state_dict())
    given = batches([6, 6])
    renewed, seen = reestimate(module, given, task=IMAGE)
    with torch.no_grad():
        maps = [module[0](batch["pixel_values"]) for batch in given]
    mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    variance = torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0)
    torch.testing.assert_close(renewed[1].running_mean, mean)
    torch.testing.assert_close(renewed[1].running_var, variance)
    assert seen == 12
    assert renewed[1].momentum == module[1].momentum == 0.1
    assert not any(part.training for part in renewed.modules())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    for (name, new), (_, old) in zip(
        renewed.named_parameters(), module.named_parameters(), strict=True
    ):
        assert torch.equal(new, old), name


def test_batches_too_small_to_normalise_over_are_left_out():
    renewed, seen = reestimate(network(), batches([6, 1]), task=IMAGE)
    alone, _ = reestimate(network(), batches([6]), task=IMAGE)
    assert seen == 6
    assert torch.equal(renewed[1].running_mean, alone[1].running_mean)


def test_dropout_stays_off():
    given = batches([6])
    one, _ = reestimate(network(), given, task=IMAGE)
    other, _ = reestimate(network(), given, task=IMAGE)
    with torch.no_grad():
        answer = one(given[0]["pixel_values"])
        assert torch.equal(answer, other(given[0]["pixel_values"]))
        assert torch.equal(answer, one(given[0]["pixel_values"]))


def test_only_kept_statistics_count():
    assert has_statistics(network())
    assert not has_statistics(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
    assert not has_statistics(nn.BatchNorm2d(3, track_running_stats=False))
