import numpy as np
import onnx
import pytest

from compress.measurement import session
from compress.quantization.calibration import graph
from compress.quantization.calibration.observe import observe
from compress.quantization.options import METHODS
from tests.quantization.calibration.graphs import scaled

NAMES = ["x", "y0", "y1", "y2"]
ROWS = np.random.default_rng(0).standard_normal((6, 50)).astype(np.float32)


class _KilledError(Exception):
    """What ends a run in the middle."""


@pytest.fixture
def runs(monkeypatch):
    """How many samples went through the model; `at` says after how many it is killed."""

    class Runs:
        count = 0
        at = None

        def __call__(self, *arguments):
            if self.count == self.at:
                raise _KilledError
            self.count += 1
            return session.run(*arguments)

    counted = Runs()
    monkeypatch.setattr(graph, "run", counted)
    return counted


def _observe(path, store, *, rows=ROWS, size=2, methods=METHODS):
    batches = [{"x": rows[start : start + size]} for start in range(0, len(rows), size)]
    return observe(path, NAMES, batches=batches, methods=methods, memory_bytes=1, store=store)


def _ranges(seen):
    return [seen.ranges(method) for method in METHODS]


def test_finished_passes_are_not_repeated(tmp_path, runs):
    path = scaled(tmp_path / "m.onnx", (2.0, 3.0, -1.0))
    first = _observe(path, tmp_path / "store")
    assert runs.count == 1 + 3 * 2 * 6  # shapes; turns, passes, samples
    again = _observe(path, tmp_path / "store", rows=ROWS[::-1], size=5)
    assert runs.count == 1 + 36 + 1
    assert _ranges(again) == _ranges(first) == _ranges(_observe(path, None))


def test_a_killed_run_goes_on_from_its_finished_passes(tmp_path, runs):
    path = scaled(tmp_path / "m.onnx", (2.0, 3.0, -1.0))
    runs.at = 1 + 6 + 6 + 6 + 3
    with pytest.raises(_KilledError):
        _observe(path, tmp_path / "store")
    runs.at, before = None, runs.count
    seen = _observe(path, tmp_path / "store")
    assert runs.count - before == 1 + 36 - 18
    assert _ranges(seen) == _ranges(_observe(path, None))


def test_extremes_serve_a_later_run_with_histograms(tmp_path, runs):
    path = scaled(tmp_path / "m.onnx", (2.0, 3.0, -1.0))
    _observe(path, tmp_path / "store", methods=["minmax"])
    before = runs.count
    _observe(path, tmp_path / "store")
    assert runs.count - before == 1 + 18


@pytest.mark.parametrize("damage", [lambda old: old[:-9], lambda old: b"", lambda old: old + b"x"])
def test_damaged_files_are_made_anew(tmp_path, runs, damage):
    path = scaled(tmp_path / "m.onnx", (2.0, 3.0, -1.0))
    first = _observe(path, tmp_path / "store")
    files = sorted((tmp_path / "store").iterdir())
    assert len(files) == 6
    for file in files:
        file.write_bytes(damage(file.read_bytes()))
    before = runs.count
    assert _ranges(_observe(path, tmp_path / "store")) == _ranges(first)
    assert runs.count - before == 1 + 36
    assert sorted((tmp_path / "store").iterdir()) == files


def test_another_model_or_other_samples_are_not_mistaken(tmp_path, runs):
    def mean(seen):
        return seen.ranges("moving_average")

    path, store = tmp_path / "m.onnx", tmp_path / "store"
    first = _observe(scaled(path, (2.0, 3.0, -1.0)), store)
    other = ROWS.copy()
    other[3, 7] += 9
    for rows in (other, ROWS[:5], np.concatenate([ROWS, ROWS[:1]])):
        assert mean(_observe(path, store, rows=rows)) != mean(first)
    assert _observe(scaled(path, (2.5, 3.0, -1.0)), store).ranges("minmax") != first.ranges(
        "minmax"
    )


def test_weights_beside_the_model_count_too(tmp_path):
    path, store = tmp_path / "m.onnx", tmp_path / "store"
    found = []
    for factor in (2.0, 5.0):
        model = onnx.load(scaled(path, (1.0, 1.0, 1.0)))
        weight = np.full((1, 50), factor, np.float32)
        model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "c0"))
        options = {"save_as_external_data": True, "size_threshold": 64, "location": "w.data"}
        (tmp_path / "w.data").unlink(missing_ok=True)
        onnx.save(model, path, **options)
        found.append((path.read_bytes(), _observe(path, store).ranges("minmax")["y0"]))
    assert found[0][0] == found[1][0]
    assert found[1][1] == pytest.approx(np.multiply(found[0][1], 2.5))
