"""Candidates are measured against the float model, and the fastest good one is kept."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from compress.measurement.cpu import this_cpu
from compress.measurement.results import NOISE, Evaluation, Interval, Latency, Quality, Speedup
from compress.onnx_graph.graph import Graph
from compress.quantization.calibration.observe import observe
from compress.quantization.cpu import integers_for
from compress.quantization.evaluation import Candidate, Evaluator, fastest, record
from compress.quantization.mixed_precision.sqnr import decibels, signal_to_noise
from compress.quantization.options import EvaluationOptions
from compress.quantization.selection import select
from compress.quantization.static import activations, quantize_static
from compress.report.candidates import FILE_NAME, read_candidates
from compress.tasks.task import TASKS
from tests.quantization.models import digits

QUICK = EvaluationOptions(batch_sizes=(1, 8), rounds=5, seconds=0.1)


class _Batches(list):
    """Batches with labels, as a loader gives them."""


def _loader():
    images, labels = digits()
    return _Batches(
        {"pixel_values": images[i : i + 50], "labels": labels[i : i + 50]}
        for i in range(1400, 1750, 50)
    )


@pytest.fixture(scope="module")
def builder(cnn):
    """Writes the digits' CNN with some of its nodes in INT8."""
    images, _ = digits()
    model = onnx.load(cnn)
    selection = select(Graph(model), method="static")
    batches = [{"pixel_values": images[:32]}]
    observed = observe(
        cnn, activations(Graph(model), selection), batches=batches, methods=["minmax"]
    )

    def build(nodes, path):
        return quantize_static(
            cnn,
            path=path,
            selection=selection if nodes is None else selection.only(nodes),
            ranges=observed.ranges("minmax"),
            integers=integers_for(this_cpu().target, method="static")[0],
        )

    return build


def _trial(source, **changes):
    images, _ = digits()
    return Evaluator(
        source=source,
        loader=_loader(),
        metric="accuracy",
        task=TASKS["image-classification"],
        labels=[str(digit) for digit in range(10)],
        inputs={n: {"pixel_values": images[:n].numpy()} for n in (1, 8)},
        options=QUICK,
        **{"budget": 0.01, **changes},
    )


def test_a_trial_measures_quality_loss_speed_and_size(cnn, builder, tmp_path):
    good = Candidate("good", builder(None, tmp_path / "good.onnx"))
    evaluations = _trial(cnn).judge([good])
    assert [each.name for each in evaluations] == ["float", "good"]
    whole, own = evaluations
    assert whole.loss == 0
    assert whole.fits
    assert own.loss == pytest.approx(whole.quality.value - own.quality.value)
    assert own.quality.samples == 350
    assert own.size_bytes == good.path.stat().st_size < whole.size_bytes
    assert set(own.latency_ms) == set(own.speedup) == {"1", "8"}
    for size in ("1", "8"):
        ratio = whole.latency_ms[size].p50 / own.latency_ms[size].p50
        assert own.speedup[size].vs_original == pytest.approx(ratio, rel=0.5)
        low, high = own.speedup[size].ci95
        assert low <= own.speedup[size].vs_original <= high
    product = own.speedup["1"].vs_original * own.speedup["8"].vs_original
    assert own.pace == pytest.approx(product**0.5)


def test_a_broken_candidate_does_not_fit(cnn, builder, tmp_path):
    path = builder(None, tmp_path / "int8.onnx")
    model = onnx.load(path)
    scale = next(t for t in model.graph.initializer if t.name.endswith("weight_scale"))
    broken = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scale) * 9, scale.name)
    scale.CopyFrom(broken)
    onnx.save(model, tmp_path / "broken.onnx")
    trial = _trial(cnn)
    assert trial.fits(path)
    assert not trial.fits(tmp_path / "broken.onnx")
    assert trial.loss(tmp_path / "broken.onnx") > 0.1


def test_one_sample_is_let_pass_where_it_is_more_than_the_budget(cnn, builder, tmp_path):
    path = builder(None, tmp_path / "int8.onnx")
    trial = _trial(cnn, budget=0.0)
    own = trial.quality(path)
    for lost, fits in ((0, True), (1, True), (2, False)):
        value = trial.quality(cnn).value - lost / own.samples
        trial._qualities[path] = replace(own, value=value)
        assert trial.fits(path) is fits


def test_the_loss_of_perplexity_is_relative(cnn, builder, tmp_path):
    path = builder(None, tmp_path / "int8.onnx")
    trial = _trial(cnn)
    interval: Interval = (1.0, 2.0)
    for file, value in ((cnn, 20.0), (path, 21.0)):
        trial._qualities[file] = Quality("perplexity", value, interval, 1000, False)
    assert trial.loss(path) == pytest.approx(0.05)
    assert not trial.fits(path)


def _evaluation(name, pace, *, fits=True):
    quality = Quality("accuracy", 0.9, (0.88, 0.92), 100)
    return Evaluation(
        name=name,
        quality=quality,
        loss=0.0,
        fits=fits,
        chosen=False,
        latency_ms={"1": Latency(1.0, 1.0)},
        speedup={"1": Speedup(pace, (pace, pace))},
        size_bytes=1,
    )


def test_the_fastest_that_fits_is_kept():
    found = [_evaluation("a", 1.5), _evaluation("b", 3.0, fits=False), _evaluation("c", 2.0)]
    assert fastest(found).name == "c"
    assert fastest([_evaluation("b", 3.0, fits=False)]) is None


def test_an_earlier_one_is_kept_where_a_later_one_is_hardly_faster():
    hardly = [_evaluation("a", 2.0), _evaluation("b", 2.0 * (1 + NOISE) - 1e-6)]
    assert fastest(hardly).name == "a"
    clearly = [_evaluation("a", 2.0), _evaluation("b", 2.0 * (1 + NOISE) + 1e-6)]
    assert fastest(clearly).name == "b"


def test_a_record_is_what_the_report_reads(cnn, builder, tmp_path):
    good = Candidate("good", builder(None, tmp_path / "good.onnx"), ("a note",))
    evaluations = _trial(cnn).judge([good])
    (tmp_path / FILE_NAME).write_text(record(evaluations, chosen=good), encoding="utf-8")
    shown = read_candidates(tmp_path)
    assert shown == [evaluations[0], replace(evaluations[1], chosen=True)]
    assert shown[1].notes == ("a note",)
    assert shown[1].speedup["8"].vs_original > 0


def test_decibels_by_hand():
    signal = [np.array([[3.0, 4.0]])]
    assert decibels(signal, [np.array([[3.0, 4.5]])]) == pytest.approx(20.0)
    assert decibels(signal, signal) == float("inf")
    assert decibels([np.zeros(2)], [np.ones(2)]) == float("-inf")


def _damage(path):
    """Stretches the scale of the only quantized weight."""
    model = onnx.load(path)
    scale = next(t for t in model.graph.initializer if t.name.endswith("weight_scale"))
    scale.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scale) * 2, scale.name))
    onnx.save(model, path)


def test_nodes_are_ranked_by_what_they_do_to_the_answers(cnn, builder):
    names = [node.name for node in onnx.load(cnn).graph.node if node.op_type == "Conv"]
    worst = names[3]

    def build(nodes, path):
        builder(nodes, path)
        if nodes == [worst]:
            _damage(path)
        return path

    images, _ = digits()
    batches = [{"pixel_values": images[1400:1440]}]
    found = signal_to_noise(cnn, names, build=build, batches=batches)
    assert sorted(found) == sorted(names)
    assert next(iter(found)) == worst
    assert list(found.values()) == sorted(found.values())
    assert all(np.isfinite(value) for value in found.values())


def test_one_that_is_slower_at_a_batch_size_is_taken_only_if_all_are():
    even, uneven = _evaluation("even", 1.0), _evaluation("uneven", 1.0)
    speeds = {"1": Speedup(0.9, (0.88, 0.92)), "32": Speedup(1.6, (1.5, 1.7))}
    uneven = replace(uneven, speedup=speeds)
    assert fastest([even, uneven]).name == "even"
    assert fastest([replace(even, fits=False), uneven]).name == "uneven"
    noise = {"1": Speedup(0.9, (0.7, 1.1)), "32": Speedup(1.6, (1.5, 1.7))}
    assert fastest([even, replace(uneven, speedup=noise)]).name == "uneven"
    parts = {"prefill": speeds["1"], "decoding": speeds["32"]}
    assert fastest([even, replace(uneven, speedup=parts)]).name == "uneven"
