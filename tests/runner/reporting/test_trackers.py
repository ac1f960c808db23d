"""Rows in trackers, read back with the trackers' own readers."""

import time
from pathlib import Path

import pytest

from compress.errors import StageError
from compress.recipe.schema import ReportOptions
from compress.runner.reporting.trackers import figures, tracked_rows
from tests.report.samples import make_row

RECIPE = {"seed": 3, "measure": {"rounds": 20}, "stages": [{"name": "prune", "use": "prune"}]}
ROWS = [make_row(0, "original"), make_row(1, "prune")]


def log_rows(tracker: str, folder: Path) -> None:
    with tracked_rows([tracker], name="small", directory=folder, recipe=RECIPE) as log:
        for row in ROWS:
            log(row)


def test_figures_are_those_of_the_row() -> None:
    found = figures(ROWS[1])
    assert found["quality/accuracy"] == ROWS[1].quality.value
    assert found["latency_ms/32/p50"] == pytest.approx(251.2)
    assert found["speedup/1"] == 2.0
    assert "latency_ms/32/p99" not in found  # it wasn't measured
    assert all(isinstance(value, float) for value in found.values())


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_rows("tensorboard", tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "small")).Reload()
    seen = events.Scalars("rows/size_bytes")
    assert [event.step for event in seen] == [0, 1]
    assert [event.value for event in seen] == [row.size_bytes for row in ROWS]


@pytest.mark.slow
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    log_rows("mlflow", tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient((tmp_path / "mlflow").as_uri())
    [experiment] = client.search_experiments(filter_string="name = 'compress'")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "small"
    assert run.info.status == "FINISHED"
    assert run.data.params["stages.prune.use"] == "prune"
    history = client.get_metric_history(run.info.run_id, "rows/speedup/1")
    assert [(each.step, each.value) for each in history] == [(0, 1.0), (1, 2.0)]


@pytest.mark.slow
def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    log_rows("wandb", tmp_path)
    [file] = (tmp_path / "wandb").rglob("*.wandb")
    wanted = (b"rows/speedup/1", b"stages.prune.use")
    end = time.monotonic() + 30  # its own process writes the file, and may be late
    while not all(words in (content := file.read_bytes()) for words in wanted):
        assert time.monotonic() < end, content[-200:]
        time.sleep(0.1)


@pytest.mark.slow
def test_a_run_that_fails_is_marked_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with (
        pytest.raises(StageError),
        tracked_rows(["mlflow"], name="small", directory=tmp_path, recipe=RECIPE),
    ):
        raise StageError("it broke")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient((tmp_path / "mlflow").as_uri())
    [experiment] = client.search_experiments(filter_string="name = 'compress'")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"


def test_a_missing_tracker_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compress.recipe.schema.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"isn't installed: pip install 'compress\[wandb\]'"):
        ReportOptions(trackers=("wandb",))
