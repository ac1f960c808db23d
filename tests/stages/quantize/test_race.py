"""Which drafts a few rounds leave, by speeds that are set, on a model that all of them answer."""

from dataclasses import replace

import pytest

from compress.exporting.checked import export_artifact
from compress.quantization.evaluation import Evaluator, Pace
from compress.stages.quantize.evaluate import make_evaluator
from compress.stages.quantize.stage import Quantize

QUICK = {"samples": 32, "rounds": 5, "seconds": 0.01, "batch_sizes": [1]}
STORED = "weights stored in 8 bits"


@pytest.fixture
def race(untrained, tmp_path, monkeypatch):
    """Let a stage run, and return what is left, what was dropped, and whose quality was read."""

    def run(**fields):
        given = {
            "evaluation": QUICK,
            "calibration": {"samples": 16, "method": "minmax"},
            "improve": [],
            "target_cpu": "x86-vnni",
            "budget": 0.99,
        }
        read = []
        quality = Evaluator.quality
        monkeypatch.setattr(
            Evaluator, "quality", lambda self, path: read.append(path.name) or quality(self, path)
        )
        stage = Quantize.model_validate(given | fields)
        made = stage.apply(untrained[0], replace(untrained[1], directory=tmp_path))
        left = (tmp_path / "candidates.json").read_text(encoding="utf-8")
        [dropped] = [x for x in made.notes if x.startswith("dropped after")] or [""]
        return left, dropped, set(read)

    return run


def test_what_cannot_win_is_dropped_and_its_quality_not_read(race, set_paces):
    set_paces(dynamic=0.6, static=0.9)
    left, dropped, read = race()
    assert STORED in left
    assert "dynamic" not in left
    assert "static" not in left
    assert dropped.startswith("dropped after a few rounds, being slower: ")
    assert "dynamic, U8S8, plain (0.60x at batch 1)" in dropped
    assert len(read) == 2  # of the float model and of the winner


def test_what_is_slower_at_one_batch_size_drops_nothing(race, set_paces):
    """Storage, which is slower on the whole and nowhere slower than the float model, stays."""
    set_paces(dynamic=0.5, static=(0.8, 2.0))
    left, dropped, _ = race()
    assert "static scales, U8S8" in left
    assert STORED in left
    assert "dynamic" in dropped


def test_what_is_nearly_as_fast_stays(race, set_paces):
    set_paces(dynamic=2.0, static=1.97)
    left, dropped, _ = race()
    assert "dynamic, U8S8" in left
    assert "static scales, U8S8" in left
    assert STORED in dropped


def test_a_fast_draft_that_loses_too_much_drops_nothing(race, set_paces, monkeypatch):
    """Storage, which is slower and loses nothing, stays beside it."""
    set_paces(static=2.0, dynamic=0.5)
    monkeypatch.setattr(
        Evaluator, "fits", lambda self, path: "QuantizeLinear" not in path.read_text("latin-1")
    )
    left, dropped, _ = race()
    assert "static QDQ" in left
    assert STORED in left
    assert "dynamic" in dropped


def test_a_part_stays_in_float_where_that_is_faster(race, set_paces):
    """Here the pooling: the only layer without weights that no weight goes with."""
    set_paces(static=2.0, mixed=1.5)
    left, _, _ = race(operators=["Conv", "Relu", "MaxPool", "Gemm"])
    assert "1 node in float" in left
    assert left.count('"name": "static QDQ') == 1


def test_a_pace_is_the_geometric_mean():
    pace = Pace({"1": (4.0, (2.0, 8.0)), "32": (1.0, (0.5, 2.0))})
    assert (pace.value, pace.low, pace.high) == (2.0, 1.0, 4.0)
    assert str(pace) == "4.00x at batch 1, 1.00x at batch 32"


def test_few_rounds_give_speedups_over_the_float_model(untrained, tmp_path):
    """The float model beside itself: its interval holds 1, or nearly."""
    artifact, context = untrained
    stage = Quantize.model_validate({"evaluation": QUICK})
    source = tmp_path / "float.onnx"
    export_artifact(artifact, context, source)
    evaluator = make_evaluator(stage, artifact, context, source=source)
    found = evaluator.paces([source])[source]
    assert found.low <= found.value <= found.high
    assert 0.5 < found.value < 2
