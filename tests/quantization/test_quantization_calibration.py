import numpy as np
import onnx
import pytest
import torch
from quantization_models import digits, texts

from compress.errors import StageError
from compress.measurement.session import unoptimized_session
from compress.quantization.calibration import calibrate
from compress.quantization.options import Calibration
from compress.quantization.selection import select
from compress.quantization.static import activations


def _calibrate(path, batches, **options):
    model = onnx.load(path)
    names = activations(model, select(model.graph, method="static"))
    return calibrate(model, names, path=path, batches=batches, calibration=Calibration(**options))


def _batches(size, samples=48):
    images, _ = digits()
    return [{"pixel_values": part} for part in images[:samples].split(size)]


def test_minmax_is_what_numpy_finds(cnn):
    found = _calibrate(cnn, _batches(16))
    model = onnx.load(cnn)
    relu = next(node for node in model.graph.node if node.op_type == "Relu").output[0]
    value = onnx.helper.make_tensor_value_info(relu, onnx.TensorProto.FLOAT, None)
    model.graph.output.append(value)
    session = unoptimized_session(model, path=cnn)
    (values,) = session.run([relu], {"pixel_values": _batches(48)[0]["pixel_values"].numpy()})
    assert found[relu] == pytest.approx((values.min(), values.max()), rel=1e-5)
    images = _batches(48)[0]["pixel_values"]
    assert found["pixel_values"] == (float(images.min()), float(images.max()))


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_how_samples_are_batched_changes_nothing(cnn, method):
    whole, parts = (_calibrate(cnn, _batches(size), method=method) for size in (48, 7))
    assert whole.keys() == parts.keys()
    for name, bounds in whole.items():
        assert parts[name] == pytest.approx(bounds, rel=1e-2, abs=1e-6), name


def test_entropy_and_percentile_differ_from_minmax(cnn):
    ranges = {
        method: _calibrate(cnn, _batches(16), method=method, percentile=99)
        for method in ("minmax", "entropy", "percentile")
    }
    for method in ("entropy", "percentile"):
        narrower = [
            ranges[method][name][1] < 0.98 * high for name, (_, high) in ranges["minmax"].items()
        ]
        assert sum(narrower) >= len(narrower) // 3, method
    assert ranges["entropy"] != ranges["percentile"]


def test_texts_of_different_lengths_are_calibrated(transformer):
    batches = [texts(2, 5), texts(3, 12)]
    found = _calibrate(transformer, batches, method="entropy")
    assert found
    assert all(np.isfinite(bounds).all() for bounds in found.values())


def test_no_samples_raise(cnn):
    with pytest.raises(StageError, match="no calibration samples"):
        _calibrate(cnn, [])


def test_activations_that_are_not_finite_raise(cnn):
    broken = torch.full((2, 1, 8, 8), float("nan"))
    with pytest.raises(StageError, match="isn't finite"):
        _calibrate(cnn, [*_batches(16), {"pixel_values": broken}])


@pytest.mark.parametrize(("method", "passes"), [("minmax", 1), ("entropy", 2)])
def test_minmax_needs_one_pass_and_histograms_two(cnn, method, passes):
    class Stream:
        begun = 0

        def __iter__(self):
            self.begun += 1
            yield from _batches(16)

    stream = Stream()
    assert _calibrate(cnn, stream, method=method)
    assert stream.begun == passes
