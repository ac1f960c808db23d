"""How many units go, for counted and for measured targets."""

import pytest
import torch

from compress.errors import StageError, TargetError
from compress.models.structure.cut import cut
from compress.models.structure.find import find_groups
from compress.models.structure.groups import cut_units
from compress.pruning.allocation.choose import choose
from compress.pruning.allocation.search import rank, step_of
from compress.pruning.allocation.secant import approach
from compress.pruning.cost.model import CostModel, count_cost, count_params
from compress.pruning.importance.scores import scores
from compress.pruning.options import CutOptions, Target
from tests.models.structure.small_models import make


class FakeMeter:
    """A machine whose latency has a part that stays, and is `slower` than MACs let expect."""

    batch_size = 1

    def __init__(self, *, task, inputs, slower=1.0, header=1000):
        self.task, self.inputs, self.slower, self.header = task, inputs, slower, header
        self.measured = []

    def size_bytes(self, module):
        return 4 * count_params(module) + self.header

    def latency_ratio(self, module, original):
        before, after = (
            count_cost(each, task=self.task, inputs=self.inputs).macs for each in (original, module)
        )
        self.measured.append(0.1 + 0.9 * (after / before) ** (1 / self.slower))
        return self.measured[-1]


def problem(name):
    module, inputs, task = make(name)
    inputs = {key: value[:1] for key, value in inputs.items()}
    groups = find_groups(module, task=task, inputs=inputs, units=None).groups
    ranking = rank(groups, scores(module, groups, criterion="magnitude", seed=0), scope="global")
    return module, groups, ranking, {"task": task, "inputs": inputs}


def chosen(name, target=None, *, meter=None, **options):
    module, groups, ranking, given = problem(name)
    wanted = CutOptions.model_validate({"target": target, "round_to": 1} | options)
    cost = CostModel(module, groups, **given)
    choice = choose(module, ranking, wanted, cost=cost, meter=meter)
    return module, groups, ranking, choice


def cut_by(module, groups, ranking, choice):
    return cut(module, groups, cut_units(ranking.order, choice.counts))


@pytest.mark.parametrize("name", ["resnet", "bert"])
@pytest.mark.parametrize("quantity", ["params", "macs"])
def test_counted_targets_are_met_and_foretold(name, quantity):
    module, groups, ranking, choice = chosen(name, Target(**{quantity: 0.6}))
    given = problem(name)[3]
    smaller = cut_by(module, groups, ranking, choice)
    assert choice.before == count_cost(module, **given)
    assert choice.after == count_cost(smaller, **given)
    assert choice.after.of(quantity) == pytest.approx(0.6 * choice.before.of(quantity), rel=0.02)


def test_a_size_is_measured_and_corrected():
    given = problem("resnet")[3]
    meter = FakeMeter(**given, header=4000)
    module, groups, ranking, choice = chosen("resnet", Target(size=0.5), meter=meter)
    smaller = cut_by(module, groups, ranking, choice)
    assert meter.size_bytes(smaller) == pytest.approx(0.5 * meter.size_bytes(module), rel=0.02)
    assert "bytes remain" in choice.notes[0]


@pytest.mark.parametrize("name", ["resnet", "bert"])
@pytest.mark.parametrize("slower", [1.0, 0.7, 1.4])
def test_a_latency_is_measured_and_corrected(name, slower):
    meter = FakeMeter(**problem(name)[3], slower=slower)
    _, groups, _, choice = chosen(name, Target(latency=0.6), meter=meter)
    assert meter.measured[-1] == pytest.approx(0.6, rel=0.05)
    assert f"after {len(meter.measured)} round" in choice.notes[0]
    assert len(meter.measured) <= 4
    assert any(choice.counts)
    assert all(0 <= count < group.units for count, group in zip(choice.counts, groups, strict=True))


@pytest.mark.parametrize(
    ("target", "least"), [("params", None), ("macs", None), ("size", None), ("latency", 0.1)]
)
def test_what_cannot_be_met_says_the_nearest_and_the_least(target, least):
    meter = FakeMeter(**problem("bert")[3])
    with pytest.raises(TargetError, match=rf"target {target}: 0\.05 can't be met") as caught:
        chosen("bert", Target(**{target: 0.05}), max_ratio=0.999, meter=meter)
    words = str(caught.value).split()
    nearest = float(words[words.index("nearest") + 2].strip(".;"))
    lowest = float(words[words.index("little") + 2].strip(".;"))
    assert nearest == pytest.approx(lowest, rel=0.01)
    assert lowest > (least or 0.05)


COARSE = {"round_to": 12, "max_ratio": 0.9}


@pytest.mark.parametrize(
    ("quantity", "wanted"), [("params", 0.7), ("macs", 0.95), ("size", 0.7), ("latency", 0.9)]
)
def test_of_coarse_units_the_nearest_smaller_model_is_taken_with_a_note(quantity, wanted):
    given = problem("resnet")[3]
    meter = FakeMeter(**given, header=0, slower=0.3)
    target = Target(**{quantity: wanted})
    module, groups, ranking, choice = chosen("resnet", target, meter=meter, **COARSE)

    def fraction(counts):
        smaller = cut(module, groups, cut_units(ranking.order, counts))
        if quantity == "latency":
            return meter.latency_ratio(smaller, module)
        before, after = (count_cost(each, **given) for each in (module, smaller))
        counted = "params" if quantity == "size" else quantity
        return after.of(counted) / before.of(counted)

    reached = fraction(choice.counts)
    assert reached < wanted * 0.96
    tolerance = 0.05 if quantity == "latency" else 0.02
    assert choice.notes[-1] == (
        f"{quantity}: {reached:.4f} remain, the nearest below the target of {wanted}, since layers "
        f"keep multiples of 'round_to' units. 'tolerance: {tolerance}' would refuse this."
    )
    for number, count in enumerate(choice.counts):  # no group can keep a step more
        more = [*choice.counts]
        more[number] -= count and 12
        assert more == choice.counts or fraction(more) > wanted


@pytest.mark.parametrize("quantity", ["macs", "size"])
def test_a_tolerance_is_kept_or_the_target_refused(quantity):
    meter = FakeMeter(**problem("resnet")[3], header=0)
    target = Target(**{quantity: 0.95})
    with pytest.raises(TargetError, match=rf"target {quantity}: 0\.95 can't be met within 1%"):
        chosen("resnet", target, meter=meter, tolerance=0.01, **COARSE)
    *_, choice = chosen("resnet", target, meter=meter, tolerance=0.5, **COARSE)
    assert not any("nearest below" in note for note in choice.notes)
    with pytest.raises(ValueError, match="'tolerance' is of a target"):
        CutOptions(ratios={"*": 0.5}, tolerance=0.1)


@pytest.mark.parametrize("quantity", ["params", "latency"])
def test_the_largest_ratio_and_the_step_are_kept(quantity):
    meter = FakeMeter(**problem("bert")[3])
    limits = {"*.dense": 0.5, "*": 0.25}
    _, groups, _, choice = chosen(
        "bert", Target(**{quantity: 0.75}), max_ratio=limits, round_to=4, meter=meter
    )
    for group, count in zip(groups, choice.counts, strict=True):
        assert count <= (0.5 if group.name.endswith(".dense") else 0.25) * group.units
        assert (group.units - count) % step_of(group, round_to=4) == 0


def test_ratios_are_taken_as_they_are():
    _, groups, _, choice = chosen("bert", ratios={"*.layer.1.*.dense": 0.25})
    wanted = [12 if ".1." in g.name and g.kind == "feed_forward" else 0 for g in groups]
    assert choice.counts == wanted
    assert choice.after.params < choice.before.params


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": Target(latency=0.5)}, "latency is measured, but no meter"),
        ({"target": Target(size=0.5)}, "size is measured, but no meter"),
    ],
)
def test_what_is_missing_is_said(given, message):
    with pytest.raises(StageError, match=message):
        chosen("resnet", **given)


def test_an_approach_ends_where_nothing_new_is_found():
    asked = []

    def search(fraction):
        asked.append(fraction)
        return [1 if fraction > 0.5 else 2]

    found = approach(search, lambda counts: {1: 0.8, 2: 0.3}[counts[0]], target=0.5, tolerance=0.05)
    assert found.measured == 0.3
    assert found.counts == [2]
    assert 1 < len(asked) <= 4


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("target", [0.2, 0.5, 0.9])
def test_an_approach_corrects_what_is_foretold_wrongly(power, target):
    torch.manual_seed(0)
    found = approach(
        lambda fraction: [round(1000 * fraction)],
        lambda counts: (counts[0] / 1000) ** power * 0.9 + 0.05,
        target=target,
        tolerance=0.05,
    )
    assert found.measured == pytest.approx(target, rel=0.05)
    assert found.rounds <= 5
