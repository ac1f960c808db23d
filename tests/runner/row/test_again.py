from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.measurement.latency.results import Throughput
from compress.measurement.results import Speedup
from compress.measurement.serving.results import Serving
from compress.runner.row.again import is_same, row_again
from compress.runner.row.models import ComparedModel, MeasuredModel
from tests.report.samples import make_report


@dataclass
class Given:
    """What is asked of an artifact."""

    fingerprint: str = "pixels"
    labels: tuple[str, ...] = ("a", "b")
    notes: tuple[str, ...] = ("made well",)

    def require_preprocessor(self) -> Any:
        return SimpleNamespace(fingerprint=self.fingerprint)


def write(path: Path, scale: float = 1.0, *, external: bool = False) -> Path:
    import numpy as np

    path.parent.mkdir(exist_ok=True)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 64]) for n in ("x", "y")]
    weight = numpy_helper.from_array(np.full((64, 64), scale, np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:], [weight]))
    location = "weights.data"
    (path.parent / location).unlink(missing_ok=True)
    onnx.save_model(
        model, path, save_as_external_data=external, location=location if external else None
    )
    return path


def measured(onnx_file: Path | None, artifact: Any = None) -> MeasuredModel:
    return MeasuredModel(5, "export", "export", artifact or Given(), onnx_file, Path(), 0.7, 9)


def compared(onnx_file: Path | None, artifact: Any = None) -> ComparedModel:
    nothing: Any = None
    return ComparedModel(artifact or Given(), onnx_file, nothing, nothing)


def test_one_file_twice_is_the_same(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a" / "m.onnx"), write(tmp_path / "b" / "m.onnx")
    assert is_same(measured(one), compared(other))
    assert not is_same(measured(one), compared(write(tmp_path / "c" / "m.onnx", 2.0)))
    assert not is_same(measured(None), compared(other))
    assert not is_same(measured(one), compared(None))


def test_weights_beside_the_file_count(tmp_path: Path) -> None:
    one = write(tmp_path / "a" / "m.onnx", external=True)
    assert is_same(measured(one), compared(write(tmp_path / "b" / "m.onnx", external=True)))
    other = write(tmp_path / "c" / "m.onnx", 2.0, external=True)
    assert other.read_bytes() == one.read_bytes()
    assert not is_same(measured(one), compared(other))


@pytest.mark.parametrize("change", [{"fingerprint": "larger pixels"}, {"labels": ("b", "a")}])
def test_other_inputs_or_labels_are_another_model(tmp_path: Path, change: dict[str, Any]) -> None:
    one, other = write(tmp_path / "a" / "m.onnx"), write(tmp_path / "b" / "m.onnx")
    assert not is_same(measured(one, replace(Given(), **change)), compared(other))


def test_the_row_has_the_figures_of_the_row_before_and_is_as_fast() -> None:
    before = (
        make_report()
        .stages[-1]
        .model_copy(
            update={
                "serving": Serving(70_000_000, 3.0),
                "throughput": Throughput(900.0, 32),
                "speedup": {"1": Speedup(2.0, (1.9, 2.1), 0.9, (0.8, 0.95))},
            }
        )
    )
    row = row_again(measured(None), before)
    assert (row.index, row.name, row.use, row.seconds) == (5, "export", "export", 0.7)
    assert row.speedup == {"1": Speedup(2.0, (1.9, 2.1), 1.0, (1.0, 1.0))}
    same = ("params", "macs", "size_bytes", "quality", "latency_ms", "serving", "throughput")
    assert all(getattr(row, name) == getattr(before, name) for name in same)
    assert row.candidates == []
    said = f"its file is that of {before.name!r}, byte for byte: the figures are that row's"
    assert row.notes == ["made well", said]


def test_after_the_reference_itself_the_speedup_is_one_for_certain() -> None:
    reference = make_report().stages[0].model_copy(update={"speedup": {"1": Speedup(1.0)}})
    row = row_again(measured(None), reference)
    assert row.speedup == {"1": Speedup(1.0, (1.0, 1.0), 1.0, (1.0, 1.0))}
