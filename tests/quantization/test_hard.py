"""Models on which 8 bits by least and largest value fail, and what recovers them."""

import pytest

from compress.quantization.bias_correction.correct import correct_biases
from compress.quantization.equalization.equalize import equalize
from compress.quantization.smoothquant.smooth import smooth
from tests.quantization.hard_models import (
    TASK,
    accuracy,
    calibration,
    error,
    exported,
    quantized,
    trained_depthwise,
    trained_vit,
    with_outliers,
    with_uneven_ranges,
)


@pytest.fixture(scope="module")
def hard_vit():
    return with_outliers(trained_vit())


@pytest.fixture(scope="module")
def hard_cnn(tmp_path_factory):
    """The file as trained, and the one that was made hard."""
    folder = tmp_path_factory.mktemp("depthwise")
    module = trained_depthwise()
    easy = exported(module, folder / "easy.onnx")
    return easy, exported(with_uneven_ranges(module), folder / "hard.onnx")


@pytest.mark.slow
def test_smoothing_recovers_a_transformer_with_an_outlier_channel(hard_vit, tmp_path):
    source = exported(hard_vit, tmp_path / "hard.onnx")
    alone = quantized(source, tmp_path / "alone.onnx")
    assert accuracy(source) > 0.9
    assert accuracy(alone) < accuracy(source) - 0.1
    assert error(alone, source) > 0.1
    made = smooth(hard_vit, task=TASK, batches=calibration())
    smoothed = exported(made.module, tmp_path / "smooth.onnx")
    assert error(smoothed, source) < 1e-8
    recovered = quantized(smoothed, tmp_path / "recovered.onnx")
    assert accuracy(recovered) > accuracy(source) - 0.01
    assert error(recovered, source) < error(alone, source) / 50


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [False, True])
def test_equalisation_recovers_uneven_depthwise_ranges(hard_cnn, tmp_path, per_channel):
    easy, source = hard_cnn
    assert error(source, easy) < 1e-8
    alone = quantized(source, tmp_path / "alone.onnx", per_channel=per_channel)
    assert accuracy(source) > 0.85
    assert accuracy(alone) < accuracy(source) - 0.2
    even = tmp_path / "even.onnx"
    notes = equalize(source, path=even, batches=calibration())
    assert "4 pairs of layers" in notes[0]
    assert error(even, source) < 1e-5
    recovered = quantized(even, tmp_path / "recovered.onnx", per_channel=per_channel)
    assert accuracy(recovered) > accuracy(source) - 0.02
    assert error(recovered, source) < error(alone, source) / 50
    # About as near as the model that nobody made hard.
    unspoilt = quantized(easy, tmp_path / "easy.onnx", per_channel=per_channel)
    assert error(recovered, source) < 4 * error(unspoilt, easy)


@pytest.mark.slow
def test_biases_make_up_for_part_of_it(hard_cnn, tmp_path):
    _, source = hard_cnn
    alone = quantized(source, tmp_path / "alone.onnx")
    corrected = tmp_path / "corrected.onnx"
    correct_biases(source, alone, path=corrected, batches=calibration())
    better = quantized(corrected, tmp_path / "better.onnx", ranges_of=source)
    assert accuracy(better) > accuracy(alone)
    assert error(better, source) < 0.7 * error(alone, source)
