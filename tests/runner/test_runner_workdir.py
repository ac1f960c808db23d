"""Stages' files are whole or not there."""

from pathlib import Path

import pytest

from compress.errors import InputError
from compress.runner.keys import next_key
from compress.runner.workdir import Slot, Workdir
from compress.stages.distill import Distill

SLOT = Slot(2, "prune")


def finish(workdir: Workdir, slot: Slot, key: str, text: str = "weights") -> Path:
    (workdir.begin(slot) / "checkpoint.safetensors").write_text(text, encoding="utf-8")
    return workdir.commit(slot, {"key": key, "seconds": 1.5})


def test_committed_stage_is_found_by_its_key_alone(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        folder = finish(workdir, SLOT, "a")
        assert folder == tmp_path / "run" / "stages" / "02-prune"
        found = workdir.find(SLOT, "a")
        assert found is not None
        assert found["seconds"] == 1.5
        assert workdir.find(SLOT, "b") is None
        assert workdir.find(Slot(3, "prune"), "a") is None


def test_stage_whose_file_changed_is_not_found(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        folder = finish(workdir, SLOT, "a")
        (folder / "checkpoint.safetensors").write_text("other", encoding="utf-8")
        assert workdir.find(SLOT, "a") is None
        (folder / "checkpoint.safetensors").unlink()
        assert workdir.find(SLOT, "a") is None


def test_a_new_result_replaces_the_old_even_under_another_name(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        finish(workdir, SLOT, "a")
        finish(workdir, Slot(2, "quantize"), "b")
        assert [path.name for path in workdir.stages.glob("[0-9]*")] == ["02-quantize"]


def test_unfinished_stage_is_dropped_and_a_finished_one_kept_on_opening(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        (workdir.begin(SLOT) / "half").write_text("x", encoding="utf-8")
        folder = finish(workdir, Slot(1, "distill"), "a")
        # As a kill just before the rename leaves it.
        folder.rename(folder.with_name("01-distill.partial"))
    with Workdir(tmp_path / "run").open():
        assert sorted(path.name for path in workdir.stages.glob("[0-9]*")) == ["01-distill"]
        assert workdir.find(Slot(1, "distill"), "a") is not None


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        Workdir(tmp_path / "run").open(),
        pytest.raises(InputError, match="another run is writing"),
        Workdir(tmp_path / "run").open(),
    ):
        pass


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="isn't empty"), Workdir(tmp_path).open():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_rows_are_kept_with_their_key(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        finish(workdir, SLOT, "a")
        workdir.save_row(SLOT, "k", {"params": 1})
        assert workdir.find_row(SLOT, "k") == {"params": 1}
        assert workdir.find_row(SLOT, "l") is None
        assert workdir.find(SLOT, "a") is not None, "a row doesn't spoil the stage"


def test_trim_and_forget(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        for index in range(3):
            finish(workdir, Slot(index, "x"), "a")
        workdir.trim(2)
        assert sorted(path.name for path in workdir.stages.glob("[0-9]*")) == ["00-x", "01-x"]
        workdir.forget()
        assert not list(workdir.stages.glob("[0-9]*"))


def test_a_stage_is_done_again_where_a_file_that_it_reads_has_changed(tmp_path):
    file = tmp_path / "more.csv"
    fields = {"unlabeled": {"huggingface": "csv", "files": {"train": str(file)}}}
    stage = Distill.model_validate(fields)
    keys = [next_key("before", stage)]
    for content in ("text\na\n", "text\nb\n", "text\na\n"):
        file.write_text(content)
        keys.append(next_key("before", stage))
    assert len(set(keys)) == 3
    assert keys[1] == keys[3]
    assert next_key("before", Distill()) == next_key("before", Distill())


def test_what_stages_share_outlives_them_but_not_a_fresh_start(tmp_path):
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        kept = workdir.stages / "shared" / "teacher" / "log"
        kept.parent.mkdir(parents=True)
        kept.write_text("answers")
        workdir.trim(0)
        assert kept.is_file()
        workdir.forget()
        assert not kept.exists()
