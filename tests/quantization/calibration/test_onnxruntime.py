"""What onnxruntime's own calibrators do, beside ours: why they aren't used.

Where one of these fails after an update of onnxruntime, its calibrator may have been repaired.
"""

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator

from compress.onnx_graph.graph import Graph
from compress.quantization.calibration.observe import observe
from compress.quantization.selection import select
from compress.quantization.silence import silence
from compress.quantization.static import activations
from tests.quantization.calibration.graphs import scaled
from tests.quantization.models import digits, texts

CALM = np.random.default_rng(0).uniform(-1, 1, (1, 2000)).astype(np.float32)


class _Reader:
    def __init__(self, samples):
        self._samples = iter(samples)

    def get_next(self):
        return next(self._samples, None)


@pytest.fixture
def theirs(tmp_path):
    def calibrator(path, method, **options):
        return create_calibrator(
            path,
            None,
            augmented_model_path=str(tmp_path / "augmented.onnx"),
            calibrate_method=method,
            extra_options=options,
        )

    return calibrator


def _calibrated(calibrator, *parts):
    for part in parts:
        calibrator.collect_data(_Reader([{"x": array} for array in part]))
    data = calibrator.compute_data()
    return tuple(np.asarray(bound).item() for bound in data["y0"].range_value)


def _ours(path, samples, method, **options):
    batches = [{"x": array} for array in samples]
    return observe(path, ["y0"], batches=batches, methods=[method]).ranges(method, **options)["y0"]


def test_a_limit_on_intermediate_outputs_discards_samples(tmp_path, theirs):
    path = scaled(tmp_path / "m.onnx")
    samples = [CALM * 100, CALM, CALM * 2]
    calibrator = theirs(path, CalibrationMethod.MinMax, max_intermediate_outputs=2)
    low, high = _calibrated(calibrator, samples)
    assert (low, high) == (2 * CALM.min(), 2 * CALM.max())  # of the last sample alone
    calibrator = theirs(path, CalibrationMethod.MinMax, max_intermediate_outputs=3)
    with pytest.raises(ValueError, match="No data is collected"):
        _calibrated(calibrator, samples)
    assert _ours(path, samples, "minmax") == (100 * CALM.min(), 100 * CALM.max())


def test_entropy_through_quantize_static_is_minmax(cnn, tmp_path):
    images = digits()[0][:24].clone()
    images[0, 0, 0, 0] = 40.0  # which entropy should clip
    scales = {}
    with silence():
        for method in (CalibrationMethod.MinMax, CalibrationMethod.Entropy):
            quantize_static(
                cnn,
                tmp_path / "int8.onnx",
                _Reader([{"pixel_values": image[None].numpy()} for image in images]),
                calibrate_method=method,
                activation_type=QuantType.QUInt8,
                op_types_to_quantize=["Conv"],
            )
            weights = onnx.load(tmp_path / "int8.onnx").graph.initializer
            scales[method] = {
                weight.name: onnx.numpy_helper.to_array(weight).tolist()
                for weight in weights
                if weight.name.endswith("_scale")
            }
    minmax, entropy = scales.values()
    assert entropy.keys() == minmax.keys()
    for name, scale in entropy.items():
        assert scale == pytest.approx(minmax[name], rel=1e-6), name
    seen = observe(
        cnn, ["pixel_values"], batches=[{"pixel_values": images}], methods=["minmax", "entropy"]
    )
    assert seen.ranges("minmax")["pixel_values"] == (0, 40)
    assert seen.ranges("entropy")["pixel_values"][1] < 20


@pytest.mark.parametrize("method", [CalibrationMethod.Percentile, CalibrationMethod.Entropy])
def test_histograms_keep_every_activation_until_the_end(tmp_path, theirs, method):
    calibrator = theirs(scaled(tmp_path / "m.onnx"), method)
    kept = []

    class Reader(_Reader):
        def get_next(self):
            held = [array for outputs in calibrator.intermediate_outputs for array in outputs]
            kept.append(sum(array.nbytes for array in held))
            return super().get_next()

    calibrator.collect_data(Reader([{"x": CALM * factor} for factor in range(1, 9)]))
    # The graph's input and its output.
    assert kept == [samples * 2 * CALM.nbytes for samples in range(9)]


@pytest.mark.parametrize("method", [CalibrationMethod.Percentile, CalibrationMethod.Entropy])
def test_histograms_want_equal_shapes(transformer, theirs, method):
    batches = [
        {name: tensor.numpy() for name, tensor in texts(1, length).items()} for length in (5, 12)
    ]
    calibrator = theirs(transformer, method, symmetric=False)
    with pytest.raises(ValueError, match="inhomogeneous"):
        calibrator.collect_data(_Reader(batches))
    model = onnx.load(transformer)
    names = activations(Graph(model), select(Graph(model), method="static"))
    seen = observe(transformer, names, batches=batches, methods=["percentile", "entropy"])
    assert seen.ranges(method.name.lower()).keys() == set(names)


def test_sample_by_sample_the_first_one_fixes_the_width_of_all_bins(tmp_path, theirs):
    path = scaled(tmp_path / "m.onnx")
    spread = np.random.default_rng(1).standard_normal((1, 2000)).astype(np.float32)
    samples = [spread * 1000, spread, spread * 1.5]
    found, bins = [], []
    for order in (samples, samples[1:] + samples[:1]):
        options = {"symmetric": False, "percentile": 60.0}
        calibrator = theirs(path, CalibrationMethod.Percentile, **options)
        found.append(_calibrated(calibrator, *([sample] for sample in order)))
        bins.append(len(calibrator.collector.get_histogram_dict()["y0"][0]))
    assert bins[0] == 2048
    assert bins[1] > 500 * bins[0]  # nor is memory flat then
    assert found[0] != pytest.approx(found[1], rel=0.1)
    ours = [_ours(path, order, "percentile", percentile=60.0) for order in (samples, samples[::-1])]
    assert ours[0] == ours[1]
