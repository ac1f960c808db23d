"""Latency predicted from a table of operators; nothing here depends on how quick a machine is."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from compress.core.progress import Silent
from compress.exporting.to_onnx import export_module
from compress.measurement.macs.aten import Convolution
from compress.measurement.session import session
from compress.models.structure.cut import cut
from compress.models.structure.groups import Group, Slice, block_index
from compress.pruning.cost.latency.layers import changing_layers
from compress.pruning.cost.latency.operators import (
    Attended,
    Convolved,
    Multiplied,
    Nothing,
    operator_model,
    times_in_a_model,
)
from compress.pruning.cost.latency.options import LatencyOptions
from compress.pruning.cost.latency.predict import LatencyModel
from compress.pruning.cost.latency.table import LatencyTable, axis
from compress.pruning.cost.latency.timing import operator_shares
from compress.pruning.cost.model import CostModel
from tests.models.structure.small_models import IMAGE, make
from tests.pruning.allocation.test_choose import problem

PLAIN = Convolution((1, 1), (1, 1), (1, 1), False, (0, 0), 1)
OPERATORS = [
    Convolved((3, 5), 2, (6, 6), (3, 3), PLAIN, False),
    Convolved(
        (6, 2), 1, (6, 6), (3, 3), Convolution((2, 2), (1, 1), (1, 1), False, (0, 0), 6), True
    ),
    Convolved(
        (2, 3), 1, (6, 6), (3, 3), Convolution((1, 1), (0, 0), (2, 2), False, (0, 0), 4), False
    ),
    Convolved(
        (4, 3), 1, (5, 5), (2, 2), Convolution((2, 2), (0, 0), (1, 1), True, (1, 1), 2), False
    ),
    Convolved((4, 3), 1, (9,), (3,), Convolution((1,), (1,), (1,), False, (0,), 1), False),
    Multiplied((8, 6), 10, "gelu"),
    Multiplied((8, 6), 10, "silu"),
    Attended((3, 8), 2, 5, 7),
    Nothing(),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda each: type(each).__name__)
def test_operators_run_alone(operator, tmp_path):
    model, shapes = operator_model(operator, prefix="x")
    path = tmp_path / "operator.onnx"
    path.write_bytes(model.SerializeToString())
    runtime = session(path, threads=1)
    arrays = {name: np.ones(shape, dtype=np.float32) for name, shape in shapes.items()}
    answers = runtime.run(None, arrays)
    assert len(answers) == times_in_a_model(operator)
    weights = [w for w in model.graph.initializer if w.data_type == 1 and len(w.dims) > 1]
    assert sum(np.prod(w.dims) for w in weights) == len(answers) * operator.weights


def layers_by_weight(name):
    module, groups, _, given = problem(name)
    model = CostModel(module, groups, **given)
    layers, unknown = changing_layers(model, batch_size=1)
    assert unknown == []
    return module, groups, model, layers, given


@pytest.mark.parametrize("name", ["resnet", "bert", "vit"])
def test_layers_are_those_whose_macs_can_change(name):
    _, groups, model, layers, _ = layers_by_weight(name)
    assert {layer.weight for layer in layers} >= {
        f"{group.name}.weight" for group in groups if group.kind != "heads"
    }
    changing = sum(layer.operator.macs for layer in layers)
    fixed = model.total.macs - changing
    assert 0 <= fixed < 0.2 * model.total.macs  # a ViT's patches are embedded as before
    kinds = {type(layer.operator) for layer in layers}
    assert kinds == ({Convolved, Multiplied} if name == "resnet" else {Multiplied, Attended})


@pytest.mark.parametrize("name", ["resnet", "bert", "vit"])
def test_layers_after_a_cut_are_those_of_the_cut_module(name):
    module, groups, model, layers, given = layers_by_weight(name)
    counts = [group.units // 3 for group in groups]
    smaller = cut(module, groups, [torch.arange(count) for count in counts])
    shapes = {key: tuple(p.shape) for key, p in smaller.named_parameters()}
    again = CostModel(smaller, groups, **given)
    seen, _ = changing_layers(again, batch_size=1)
    assert [layer.after(model, counts) for layer in layers] == [layer.operator for layer in seen]
    assert all(
        layer.after(model, counts).weights == np.prod(shapes[layer.weight])
        for layer in layers
        if layer.weight in shapes
    )


def test_depthwise_and_grouped_convolutions_keep_their_kind():
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 12, 1, groups=2),
        nn.Flatten(),
        nn.Linear(12 * 4, 2),
    )
    every, pair = block_index(8, 1), torch.tensor([[n, n + 4] for n in range(4)])
    places = [("0", 0, pair), ("1", 0, pair), ("2", 1, block_index(4, 1))]
    group = Group("0", "channels", 4, tuple(Slice(m, "weight", dim, i) for m, dim, i in places))
    assert every.shape == (8, 1)
    model = CostModel(module, [group], task=IMAGE, inputs={"pixel_values": torch.rand(1, 1, 6, 6)})
    layers, _ = changing_layers(model, batch_size=1)
    depthwise, grouped = layers[1].after(model, [1]), layers[2].after(model, [1])
    assert (depthwise.sizes, depthwise.depthwise, depthwise.inputs) == (
        (6, 1),
        True,
        ((1, 6, 4, 4),),
    )
    assert (grouped.sizes, grouped.depthwise, grouped.inputs) == ((3, 6), False, ((1, 6, 2, 2),))
    assert [layer.operator.weights for layer in layers] == [72, 72, 48]


@given(least=st.integers(1, 50), more=st.integers(0, 2000))
def test_few_widths_are_timed_and_both_ends_of_them(least, more):
    widths = axis(least, least + more)
    assert widths == sorted(set(widths))
    assert {widths[0], widths[-1]} == {least, least + more}
    assert len(widths) <= 22
    assert axis(1, 12, every=True) == list(range(1, 13))


def blocky(operator):
    """A kernel that works on 16 output channels at once."""
    given, made = operator.sizes
    return given * (-(-made // 16)) * 1e-4


def test_widths_are_interpolated_between_those_that_are_aligned_alike():
    operator = Multiplied((64, 256), 10, None)
    table = LatencyTable(
        [(operator, (8, 8))], shares=lambda operators: [blocky(o) for o in operators]
    )
    for width in range(16, 257, 16):
        assert table.share(operator.resized(40, width)) == pytest.approx(40 * width / 16 * 1e-4)
    for width in range(8, 249, 16):
        assert table.share(operator.resized(40, width)) == pytest.approx(
            40 * (width + 8) / 16 * 1e-4
        )
    assert table.timed <= 200


def test_widths_that_save_nothing_are_not_offered():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 64), nn.Linear(64, 64), nn.Linear(64, 2))
    index = block_index(64, 1)
    group = Group(
        "1", "channels", 64, (Slice("1", "weight", 0, index), Slice("1", "bias", 0, index))
    )
    inputs = {"pixel_values": torch.rand(1, 1, 2, 2)}
    model = LatencyModel(
        CostModel(module, [group], task=IMAGE, inputs=inputs),
        most=[56],
        batch_size=1,
        shares=lambda operators: [100 * blocky(operator) for operator in operators],
    )
    assert model.worthwhile([list(range(0, 57, 8))]) == [[0, 16, 32, 48]]
    assert model.predict([0]) == pytest.approx(1.0)
    assert model.predict([16]) == pytest.approx(1 - 0.04)
    assert model.predict([24]) == pytest.approx(1 - 0.04)


def test_nothing_to_save_offers_all():
    module, groups, _, given = problem("bert")
    cost = CostModel(module, groups, **given)
    every = [list(range(group.units)) for group in groups]
    flat = LatencyModel(
        cost, most=[g.units - 1 for g in groups], batch_size=1, shares=lambda o: [0.01] * len(o)
    )
    assert flat.worthwhile(every) == every
    assert flat.predict([each[-1] for each in every]) == pytest.approx(1.0)


@pytest.mark.slow
def test_operators_are_timed_beside_the_whole(tmp_path):
    module, inputs, task = make("resnet")
    path = export_module(
        module, task=task, example=inputs, path=tmp_path / "whole.onnx", labels="abc"
    )
    shares = operator_shares(
        [*OPERATORS[:2], OPERATORS[5]],
        whole=path,
        inputs={name: value[:1].numpy() for name, value in inputs.items()},
        options=LatencyOptions(),
        progress=Silent(),
    )
    assert len(shares) == 3
    assert all(share >= 0 for share in shares)
