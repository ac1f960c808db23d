import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compress.errors import TargetError
from compress.factorization.layers import MatrixLayer
from compress.factorization.ranks import (
    TOLERANCE,
    Goal,
    probing_ranks,
    ranks_by_energy,
    ranks_by_ratio,
    ranks_by_target,
)
from compress.factorization.spectrum import Spectrum


def known(energies):
    values = torch.tensor(energies, dtype=torch.float64).sort(descending=True).values
    return Spectrum(values, torch.empty(0), torch.empty(0))


def falling(layer, pace):
    full = min(layer.rows, layer.columns)
    return known([pace**place for place in range(full)])


def cost(layers, ranks, quantity="params"):
    return sum(
        (layer.weights if rank is None else rank * layer.of_rank)
        * (layer.positions if quantity == "macs" else 1)
        for layer, rank in zip(layers, ranks, strict=True)
    )


@pytest.mark.parametrize(
    ("rows", "columns", "largest", "step"),
    [
        (130, 130, 64, 8),
        (100, 100, 49, 1),
        (64, 64, 31, 1),
        (384, 1536, 307, 8),
        (4, 4, 1, 1),
        (1, 50, 0, 1),
    ],
)
def test_the_largest_rank_saves_and_the_next_does_not(rows, columns, largest, step):
    layer = MatrixLayer("a", rows, columns, 1)
    assert (layer.largest, layer.step) == (largest, step)
    assert largest * layer.of_rank < layer.weights <= (largest + 1) * layer.of_rank


def test_a_ratio_is_removed_of_each_layer():
    layers = [
        MatrixLayer("a", 384, 384, 1),
        MatrixLayer("b", 384, 1536, 1),
        MatrixLayer("c", 12, 12, 1),
    ]
    ranks = ranks_by_ratio(layers, 0.5)
    assert ranks == [96, 152, 3]
    for layer, rank in zip(layers, ranks, strict=True):
        assert rank * layer.of_rank <= 0.5 * layer.weights < (rank + layer.step) * layer.of_rank
    assert ranks_by_ratio(layers, 0.999) == [8, 8, 1]
    assert ranks_by_ratio(layers, 1e-9)[0] == 184  # of 191: fewer weights than the whole layer


def test_energy_is_kept_by_the_smallest_rank_that_does():
    layer = MatrixLayer("a", 10, 10, 1)
    found = known([8, 4, 2, 1, 1, 0, 0, 0, 0, 0])
    assert ranks_by_energy([layer] * 3, [found] * 3, 0.75) == [2] * 3
    assert ranks_by_energy([layer], [found], 0.76) == [3]
    assert ranks_by_energy([layer], [found], 1.0) == [None]  # rank 5 takes as much as the layer
    wide = MatrixLayer("b", 200, 200, 1)
    assert ranks_by_energy([wide], [falling(wide, 0.5)], 0.75) == [8]  # 2, in steps of 8


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(
        st.tuples(st.integers(90, 120), st.integers(90, 120), st.integers(1, 2)),
        min_size=6,
        max_size=6,
    ),
    paces=st.lists(st.floats(0.5, 0.99), min_size=6, max_size=6),
    weights=st.lists(st.floats(1e-3, 10), min_size=6, max_size=6),
    fraction=st.floats(0.5, 0.9),
    rest=st.integers(0, 1000),
    quantity=st.sampled_from(["params", "macs"]),
)
def test_targets_are_met(shapes, paces, weights, fraction, rest, quantity):
    layers = [MatrixLayer(str(i), *shape) for i, shape in enumerate(shapes)]
    spectra = [falling(layer, pace) for layer, pace in zip(layers, paces, strict=False)]
    whole = rest + cost(layers, [None] * len(layers), quantity)
    goal = Goal(quantity, fraction, whole)
    least = rest + cost(layers, [layer.step for layer in layers], quantity)
    each = max(layer.step * layer.of_rank * layer.positions for layer in layers)
    # Not too little, and no steps so coarse that it may be missed.
    assume(least <= fraction * whole and each <= 2 * TOLERANCE * fraction * whole)
    ranks = ranks_by_target(layers, spectra, goal, effects=weights[: len(layers)])
    reached = rest + cost(layers, ranks, quantity)
    assert (1 - TOLERANCE) * fraction * whole <= reached <= (1 + TOLERANCE) * fraction * whole + 1
    for layer, rank in zip(layers, ranks, strict=True):
        assert rank is None or (0 < rank <= layer.largest and rank % layer.step == 0)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    sizes=st.tuples(st.integers(6, 12), st.integers(6, 12), st.integers(6, 12)),
    fraction=st.floats(0.4, 0.9),
)
def test_no_other_ranks_lose_much_less(seed, sizes, fraction):
    generator = torch.Generator().manual_seed(seed)
    layers = [MatrixLayer(str(i), size, size, 1) for i, size in enumerate(sizes)]
    spectra = [known(torch.rand(size, generator=generator).tolist()) for size in sizes]
    goal = Goal("params", fraction, cost(layers, [None] * 3))
    try:
        ranks = ranks_by_target(layers, spectra, goal)
    except TargetError:
        assume(False)

    def loss(some):
        return sum(
            0.0 if rank is None else found.lost()[rank].item()
            for rank, found in zip(some, spectra, strict=True)
        )

    every = [[*range(1, layer.largest + 1), None] for layer in layers]
    budget = max(goal.most, cost(layers, ranks))
    others = [(a, b, c) for a in every[0] for b in every[1] for c in every[2]]
    best = min(loss(some) for some in others if cost(layers, some) <= budget)
    steps = max(found.lost()[0].item() - found.lost()[1].item() for found in spectra)
    assert loss(ranks) <= best + 3 * steps


def test_the_layer_whose_spectrum_falls_faster_gives_more():
    layers = [MatrixLayer("flat", 64, 64, 1), MatrixLayer("steep", 64, 64, 1)]
    spectra = [falling(layers[0], 0.99), falling(layers[1], 0.7)]
    goal = Goal("params", 0.5, 2 * 64 * 64)
    flat, steep = ranks_by_target(layers, spectra, goal)
    assert (flat or 64) > 2 * (steep or 64)
    swapped = ranks_by_target(layers, spectra, goal, effects=[1e-6, 1.0])
    assert (swapped[0] or 64) < (flat or 64)


def test_macs_are_saved_where_they_are():
    layers = [MatrixLayer("often", 64, 64, 100), MatrixLayer("once", 64, 64, 1)]
    spectra = [falling(layer, 0.95) for layer in layers]
    ranks = ranks_by_target(layers, spectra, Goal("macs", 0.6, 101 * 64 * 64))
    assert ranks[1] is None
    assert cost(layers, ranks, "macs") <= 0.6 * 101 * 64 * 64


def test_a_target_below_the_least_says_the_least():
    layers = [MatrixLayer("a", 64, 64, 1)]
    whole = 64 * 64 + 1000
    with pytest.raises(TargetError, match=rf"{(128 + 1000) / whole:.4f} of the model's params"):
        ranks_by_target(layers, [falling(layers[0], 0.9)], Goal("params", 0.1, whole))


def test_a_target_between_coarse_steps_says_the_nearest():
    layers = [MatrixLayer("a", 6, 6, 1)]  # of 36 weights 12 or 24 remain
    with pytest.raises(TargetError, match=r"can't be met within 2%. The nearest below is 0.6667"):
        ranks_by_target(layers, [falling(layers[0], 0.9)], Goal("params", 0.9, 36))


def test_probing_ranks_would_meet_the_goal_alike():
    layers = [MatrixLayer("a", 64, 64, 1), MatrixLayer("b", 64, 128, 1)]
    whole = 64 * 64 + 64 * 128
    ranks = probing_ranks(layers, Goal("params", 0.5, whole))
    assert 0.45 * whole < cost(layers, ranks) <= 0.5 * whole
