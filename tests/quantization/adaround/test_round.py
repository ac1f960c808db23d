"""Rounding that is chosen by what layers answer; its outcome is what the quantizer keeps."""

import itertools

import numpy as np
import pytest
import torch

from compress.errors import StageError
from compress.onnx_graph.files import load_graph
from compress.quantization.adaround.layers import WeightedLayer, sample_rows
from compress.quantization.adaround.relaxation import Grid, Rows, optimize_layer
from compress.quantization.adaround.round import optimize_rounding
from compress.quantization.integers import Integers
from compress.quantization.selection import select
from compress.quantization.static import quantize_static
from tests.quantization.models import digits, texts
from tests.quantization.onnx_torch.models import (
    exported,
    inputs_of,
    plain_answers,
    ranges_of,
    tensors_of,
)


def both_ways(source, folder, batches, integers, *, per_channel, steps=60):
    """The quantized file without and with optimised rounding, the rounded floats, the notes."""
    selection = select(load_graph(source), method="static")
    ranges = ranges_of(source, batches, selection)

    def quantize(floats, name):
        return quantize_static(
            floats,
            path=folder / name,
            selection=selection,
            ranges=ranges,
            integers=integers,
            per_channel=per_channel,
        )

    rounded = folder / "rounded.onnx"
    notes = optimize_rounding(
        source,
        path=rounded,
        selection=selection,
        ranges=ranges,
        integers=integers,
        batches=batches,
        per_channel=per_channel,
        steps=steps,
    )
    return quantize(source, "nearest.onnx"), quantize(rounded, "optimized.onnx"), rounded, notes


@pytest.mark.parametrize(
    ("integers", "per_channel"),
    [
        (Integers(), True),
        (Integers("int8", "uint8"), True),
        (Integers("uint8", "uint8", True), False),
    ],
    ids=str,
)
def test_the_quantizer_keeps_every_rounded_weight(cnn, tmp_path, integers, per_channel):
    images, _ = digits()
    batches = [{"pixel_values": part} for part in images[:96].split(32)]
    nearest, optimized, rounded, notes = both_ways(
        cnn, tmp_path, batches, integers, per_channel=per_channel
    )
    before, after, floats = tensors_of(nearest), tensors_of(optimized), tensors_of(rounded)
    assert notes[0].startswith("rounding optimised in")
    moved = 0
    for name, array in before.items():
        if "weight" not in name or "bias" in name:
            continue
        if not name.endswith("_quantized"):
            assert np.array_equal(array, after[name]), name
            continue
        steps = after[name].astype(int) - array.astype(int)
        assert np.abs(steps).max() <= 1
        moved += int((steps != 0).sum())
        weight = name.removesuffix("_quantized")
        scale, zero = after[f"{weight}_scale"], after[f"{weight}_zero_point"].astype(int)
        shape = (-1, *[1] * (array.ndim - 1)) if scale.ndim else ()
        again = (after[name].astype(int) - zero.reshape(shape)).astype("f4") * scale.reshape(shape)
        # A largest weight, which makes the scale, may lie half a step over the last integer.
        apart = np.abs(floats[weight] - again) / scale.reshape(shape)
        assert apart.max() < 0.501
        assert (apart > 1e-5).sum() <= 2 * scale.size
    assert moved > 10


def test_layers_answer_more_like_the_float_model(tmp_path):
    source = exported("inverted", tmp_path / "float.onnx")
    batches = [inputs_of("inverted", 32) for _ in range(4)]
    coarse = Integers("uint8", "int8", True)
    nearest, optimized, _, notes = both_ways(
        source, tmp_path, batches, coarse, per_channel=False, steps=150
    )
    batch = inputs_of("inverted", 200)
    want = plain_answers(source, batch)
    before, after = (
        np.square(plain_answers(path, batch) - want).mean() for path in (nearest, optimized)
    )
    assert "5 layers" in notes[0]
    assert after < 0.8 * before


def test_matrix_products_of_texts_are_rounded_too(transformer, tmp_path):
    nearest, optimized, _, notes = both_ways(
        transformer, tmp_path, [texts(8, 12)], Integers(), per_channel=True, steps=20
    )
    before, after = tensors_of(nearest), tensors_of(optimized)
    products = [n for n in before if n.endswith("_quantized") and before[n].dtype == np.int8]
    assert len(products) == 2 * 6 + 2
    assert any((before[name] != after[name]).any() for name in products)
    assert "of 14 layers" in notes[0]


def test_the_same_samples_give_the_same_bytes(cnn, tmp_path):
    images, _ = digits()
    written = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        batches = [{"pixel_values": images[:32]}]
        paths = both_ways(cnn, folder, batches, Integers(), per_channel=True, steps=10)
        written.append(paths[2].read_bytes())
        torch.rand(3)  # torch's own generator isn't used
    assert written[0] == written[1]


def test_no_samples_are_refused(cnn, tmp_path):
    selection = select(load_graph(cnn), method="static")
    ranges = ranges_of(cnn, [{"pixel_values": digits()[0][:8]}], selection)
    with pytest.raises(StageError, match="no samples to optimise"):
        optimize_rounding(
            cnn,
            path=tmp_path / "x.onnx",
            selection=selection,
            ranges=ranges,
            integers=Integers(),
            batches=[],
        )


def test_the_best_of_all_roundings_is_found_where_inputs_go_together():
    """Inputs that are nearly equal: what some gain by rounding up, others lose by rounding down."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.tensor([[[3.4, 5.45, 2.4, 7.35, 4.4, 8.0]]])
    weight = steps * 0.1
    common = torch.randn(1, 800, 1, generator=generator)
    given = common + 0.1 * torch.randn(1, 800, 6, generator=generator)
    limits = (float("-inf"), float("inf"))
    rows = Rows(given, given @ weight.transpose(1, 2), torch.zeros(1, 1, 1), limits)
    grid = Grid(steps, torch.full_like(steps, 0.1), torch.full_like(steps, 100), steps == 8)
    found = optimize_layer(grid, rows, iterations=600, generator=generator)

    def error(whole):
        return float(rows.error(whole * 0.1))

    choices = itertools.product(*[(v.floor(), v.floor() + 1) for v in steps.reshape(-1)[:5]])
    best = min(error(torch.stack([*up, steps[0, 0, 5]]).reshape(1, 1, 6)) for up in choices)
    assert error(found.steps) < 0.2 * error(steps.round())
    assert error(found.steps) < 1.5 * best
    assert found.after < found.before


def test_the_nearest_stay_where_they_are_best():
    generator = torch.Generator().manual_seed(0)
    steps = torch.tensor([[[3.02, 4.99, -2.01]]])
    given = torch.randn(1, 100, 3, generator=generator)
    limits = (float("-inf"), float("inf"))
    rows = Rows(given, given @ steps.transpose(1, 2), torch.zeros(1, 1, 1), limits)
    grid = Grid(steps, torch.ones_like(steps), torch.full_like(steps, 10), steps == 10)
    found = optimize_layer(grid, rows, iterations=50, generator=generator)
    assert found.steps.tolist() == [[[3, 5, -2]]]
    assert found.after == found.before


@pytest.mark.parametrize("groups", [1, 3])
def test_sampled_patches_give_the_convolutions_own_answers(groups):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 9, 7, generator=generator)
    weight = torch.randn(12, 6 // groups, 3, 2, generator=generator)
    padded = torch.nn.functional.pad(x, (1, 0, 2, 1))
    wanted = torch.nn.functional.conv2d(
        padded, weight, stride=(2, 1), dilation=(1, 2), groups=groups
    )
    attributes = {"group": groups, "pads": [2, 1, 1, 0], "strides": [2, 1], "dilations": [1, 2]}
    layer = WeightedLayer("n", "Conv", None, "", "y", "x", (0, 1), attributes)
    rows, outputs = sample_rows(layer, x, wanted, kernel=(3, 2), count=40, generator=generator)
    assert rows.shape == (40, groups, 6 // groups * 6)
    answers = torch.einsum("rgk,gok->rgo", rows, layer.as_rows(weight))
    assert torch.allclose(answers, outputs, atol=1e-5)
    assert torch.equal(layer.from_rows(layer.as_rows(weight), weight), weight)
