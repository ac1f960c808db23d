"""How a target is spent by what groups cost."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.errors import StageError
from compress.models.structure.cut import cut
from compress.models.structure.groups import Group, cut_units
from compress.pruning.allocation.by_sensitivity import ranking_by_sensitivity
from compress.pruning.allocation.search import choices, rank, search
from compress.pruning.cost.model import CostModel
from compress.pruning.sensitivity.divergence import distances
from compress.pruning.sensitivity.losses import GroupSensitivity, Sensitivity
from compress.pruning.sensitivity.trials import measure_sensitivity
from tests.pruning.importance.models import IMAGE
from tests.pruning.sensitivity.models import GRID, chain, data, layers, magnitudes, samples


def spent(module, groups, ranking, *, left):
    """How many units of each group go for a fraction of the MACs, and what the answers lose."""
    inputs = {"x": data()[0]["x"][:1]}
    model = CostModel(module, groups, task=IMAGE, inputs=inputs)
    counts = search(
        ranking,
        lambda counts: float(model.predict(counts).macs),
        target=left * model.total.macs,
        choices=choices(groups, max_ratio=1.0, round_to=1),
    )
    (whole,) = data(size=48)
    smaller = cut(module, groups, cut_units(ranking.order, counts))
    with torch.no_grad():
        apart, weight = distances(
            module(whole["x"]), smaller(whole["x"]), batch=whole, target="class"
        )
    return counts, model.predict(counts).macs, apart / weight


@pytest.mark.parametrize("useless", [0, 1, 2])
def test_auto_spends_the_target_where_nothing_is_lost(useless):
    module = chain(useless=useless, units=16)
    groups = layers(module, units=16)
    rated = magnitudes(module, groups)
    found = measure_sensitivity(module, groups, rated, samples=samples(), ratios=GRID)
    inputs = {"x": data()[0]["x"][:1]}
    model = CostModel(module, groups, task=IMAGE, inputs=inputs)
    auto = ranking_by_sensitivity(
        groups, rated, found, lambda counts: float(model.predict(counts).macs)
    )
    counts, macs, lost = spent(module, groups, auto, left=0.8)
    assert [place for place, count in enumerate(counts) if count] == [useless]
    assert lost == pytest.approx(0, abs=1e-9)
    for left in (0.8, 0.6, 0.4):
        _, macs, lost = spent(module, groups, auto, left=left)
        _, other_macs, other = spent(module, groups, rank(groups, rated, scope="global"), left=left)
        assert macs == other_macs
        assert lost < other


def plain(name, units):
    return Group(name, "feed_forward", units, ())


def measured(group, divergence, ratios=GRID):
    cuts = tuple(round(ratio * group.units) for ratio in ratios)
    return GroupSensitivity(
        group.name, group.kind, group.units, cuts, tuple(1.0 for _ in cuts), tuple(divergence)
    )


def ranked(groups, curves, prices):
    rated = [torch.rand(group.units) for group in groups]
    sensitivity = Sensitivity("accuracy", True, 1.0, "nats", 1, tuple(curves))
    return ranking_by_sensitivity(
        groups,
        rated,
        sensitivity,
        lambda counts: 1000 - sum(c * p for c, p in zip(counts, prices, strict=True)),
    )


def cut_first(ranking, share):
    """How many units of each group are among the first `share` of all."""
    return [sum(key < share for key in keys) for keys in ranking.keys]


def test_the_price_of_a_unit_counts():
    groups = [plain("cheap", 8), plain("dear", 8)]
    curves = [measured(group, (0.1, 0.3, 0.6)) for group in groups]
    assert cut_first(ranked(groups, curves, (1, 4)), 0.25) == [1, 3]
    assert cut_first(ranked(groups, curves, (4, 1)), 0.25) == [3, 1]
    assert cut_first(ranked(groups, curves, (1, 1)), 0.25) == [2, 2]


def test_what_was_not_measured_goes_last():
    groups = [plain("free", 8), plain("vital", 8)]
    curves = [measured(groups[0], (0, 0, 0)), measured(groups[1], (1, 5, math.inf))]
    ranking = ranked(groups, curves, (1, 1))
    assert cut_first(ranking, 10 / 16) == [6, 4]
    assert cut_first(ranking, 12 / 16) == [8, 4], "the cheaper of what is unknown goes first"


def test_noise_in_a_curve_is_smoothed():
    """The middle point lies above the line, so the group costs what the line says."""
    groups = [plain("bent", 8), plain("straight", 8)]
    curves = [measured(groups[0], (0.5, 0.5, 0.6)), measured(groups[1], (0.2, 0.4, 0.6))]
    assert cut_first(ranked(groups, curves, (1, 1)), 0.5) == [4, 4]


def test_groups_of_one_unit_and_of_other_names():
    groups = [plain("one", 1), plain("two", 8)]
    curves = [measured(groups[0], (), ()), measured(groups[1], (0.1, 0.2, 0.3))]
    ranking = ranked(groups, curves, (1, 1))
    assert ranking.keys[0] == [8 / 9]
    with pytest.raises(StageError, match="of the same groups, in their order"):
        ranked(groups, [curves[0], measured(plain("two", 9), (0.1, 0.2, 0.3))], (1, 1))


@settings(deadline=None, max_examples=60)
@given(
    curves=st.lists(
        st.tuples(st.integers(1, 20), st.lists(st.floats(0, 10), min_size=3, max_size=3)),
        min_size=1,
        max_size=4,
    ),
    seed=st.integers(0, 99),
)
def test_keys_rise_along_every_order(curves, seed):
    torch.manual_seed(seed)
    groups = [plain(str(place), units) for place, (units, _) in enumerate(curves)]
    drawn = []
    for group, (_, values) in zip(groups, curves, strict=True):
        cuts = sorted({min(max(1, round(r * group.units)), group.units - 1) for r in GRID} - {0})
        values = values[: len(cuts)]
        drawn.append(
            GroupSensitivity(
                group.name, group.kind, group.units, tuple(cuts), tuple(values), tuple(values)
            )
        )
    ranking = ranked(groups, drawn, [float(p) for p in torch.rand(len(groups)) + 0.1])
    every = sorted(key for keys in ranking.keys for key in keys)
    total = sum(group.units for group in groups)
    assert every == [place / total for place in range(total)]
    for group, keys, order in zip(groups, ranking.keys, ranking.order, strict=True):
        assert keys == sorted(keys)
        assert sorted(order.tolist()) == list(range(group.units))
