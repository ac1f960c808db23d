"""A broken run tells why, in its report and to its caller; nothing hides the first error."""

import errno
import json
import os

import pytest

import compress
from compress.core.foreign.boundary import described
from compress.errors import StageError
from compress.exporting.verify.bundle import verify_bundle
from compress.report.document import Report, read_report, write_report
from compress.runner import execution
from compress.runner.folder.workdir import Workdir
from compress.runner.reporting.write import mark_interrupted, write_reports

RECIPE = """\
version: 1
name: tiny
model:
  python: compress.models.resnet:resnet
  arguments: {blocks: [], width: 8, in_channels: 1, num_classes: 10}
task: image-classification
data: {sklearn: digits, limit: {train: 64, test: 32}, calibration_samples: 8}
measure: {batch_sizes: [1], threads: 1, rounds: 5, warmup: 1, seconds: 0.01, samples: 32}
stages:
  - use: train
    training: {epochs: 1, batch_size: 32}
  - use: export
"""


@pytest.fixture
def go(tmp_path):
    """Runs the recipe in one folder, again and again; `go.folder` is that folder."""
    (tmp_path / "tiny.yaml").write_text(RECIPE)

    def run():
        return compress.run(tmp_path / "tiny.yaml", output=tmp_path / "run", threads=1)

    run.folder = tmp_path / "run"
    return run


def breaking(monkeypatch, name, error):
    """The row of one stage can't be measured."""
    whole = execution.measure_row

    def measure_row(subject, **given):
        if subject.name == name:
            raise error
        return whole(subject, **given)

    monkeypatch.setattr(execution, "measure_row", measure_row)


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_interrupt_at_any_row_and_while_publishing(go, monkeypatch):
    names = ["original", "train", "export"]
    for rows, name in enumerate(names):
        with monkeypatch.context() as patch:
            breaking(patch, name, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                go()
        report = read_report(go.folder)
        assert (report.status, report.error) == ("interrupted", None)
        assert [row.name for row in report.stages] == names[:rows]

    def publish(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(execution, "publish", publish)
        with pytest.raises(KeyboardInterrupt):
            go()
    report = read_report(go.folder)
    assert report.status == "interrupted"
    assert [row.name for row in report.stages] == names
    assert go().status == "passed"


def test_a_full_disk_while_the_row_of_the_reference_is_measured(go, monkeypatch):
    with monkeypatch.context() as patch:
        breaking(patch, "train", full())
        with pytest.raises(StageError, match="01-train: can't write or read a file: no space left"):
            go()
    report = read_report(go.folder)
    assert report.status == "failed"
    assert report.error.startswith("01-train: can't write or read a file: no space left on device")
    for name in ("report.md", "report.html"):
        assert "01-train: can" in (go.folder / name).read_text()
        assert "run the same command again" in (go.folder / name).read_text()


def test_a_disk_that_stays_full_does_not_hide_the_first_error(go, monkeypatch):
    whole = os.fsync

    def fsync(handle):
        if (go.folder / ".compress" / "building" / "00-original").exists():
            raise full()
        whole(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(StageError, match=r"00-original: can't write or read .*: no space left"):
            go()
    # What the broken stage had begun has gone, so that there was room for the report.
    assert not (go.folder / ".compress" / "building" / "00-original").exists()
    assert read_report(go.folder).status == "failed"

    def never(handle):
        raise full()

    monkeypatch.setattr(os, "fsync", never)
    with pytest.raises(StageError, match=r"can't write or read .*report\.json: no space") as raised:
        go()
    assert "The report couldn't be written either" in raised.value.__notes__[0]


def test_an_error_of_any_kind_stands_at_the_top_of_the_report(go, monkeypatch):
    breaking(monkeypatch, "original", ZeroDivisionError("division by <zero>"))
    with pytest.raises(ZeroDivisionError):
        go()
    document = json.loads((go.folder / "report.json").read_text())
    assert document["error"] == described(ZeroDivisionError("division by <zero>"))
    assert "division by &lt;zero>" in (go.folder / "report.md").read_text().split("## ")[0]
    page = (go.folder / "report.html").read_text()
    assert page.index("division by &lt;zero&gt;") < page.index("<h2")


@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_report_that_was_left_behind_is_marked(tmp_path, status):
    workdir = Workdir(tmp_path)
    with workdir.open():
        write_reports(Report(name="a", status=status, error="no"), workdir)
        mark_interrupted(tmp_path)
    report = read_report(tmp_path)
    assert (report.status, report.error) == ("interrupted", None)
    assert "interrupted" in (tmp_path / "report.md").read_text()


def test_a_run_that_had_ended_and_no_run_are_left_alone(tmp_path):
    mark_interrupted(tmp_path)
    assert list(tmp_path.iterdir()) == []
    workdir = Workdir(tmp_path)
    with workdir.open():
        write_reports(Report(name="a", status="passed"), workdir)
        mark_interrupted(tmp_path)
    assert read_report(tmp_path).status == "passed"


def test_a_report_in_a_folder_that_is_no_runs_is_left_alone(tmp_path):
    write_report(Report(name="a", status="running"), tmp_path)
    mark_interrupted(tmp_path)
    assert read_report(tmp_path).status == "running"


def test_an_edited_figure_and_a_damaged_record_are_made_again_with_notes(go):
    first = go()
    row = go.folder / "stages" / "01-train" / "row.json"
    document = json.loads(row.read_text())
    document["row"]["quality"]["value"] = 0.987654321
    row.write_text(json.dumps(document))
    (go.folder / "stages" / "02-export" / "stage.json").write_text("{}")
    (go.folder / "README.md").write_text("my own words")
    again = go()
    assert [row.quality for row in again.stages] == [row.quality for row in first.stages]
    assert "0.987654321" not in (go.folder / "report.json").read_text()
    assert (go.folder / "README.md.kept-1").read_text() == "my own words"
    assert again.notes == read_report(go.folder).notes
    assert [note for note in again.notes if note not in first.notes] == [
        "02-export was done again: its stage.json wasn't as a run had left it",
        "01-train was measured again: its row.json wasn't as a run had left it",
        "01-train/row.json wasn't as a run had left it; it is kept as row.json.kept-1",
        "what no run had written at stages/02-export is kept as stages/kept-1.02-export",
        "README.md wasn't as a run had left it; it is kept as README.md.kept-1",
    ]
    texts = [check.text for check in verify_bundle(go.folder) if check.name == "files"]
    assert texts[1:] == ["not in the manifest: README.md.kept-1"]
