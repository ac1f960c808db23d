"""Stages' files are whole or not there."""

import json
import os
from pathlib import Path

import pytest

from compress.core.files.sealed import sealed
from compress.errors import InputError, StageError
from compress.runner.folder.workdir import Slot, Workdir
from compress.runner.keys import next_key
from compress.stages.distill import Distill
from tests.runner.folders import contents, finish, names, stages_in

SLOT = Slot(2, "prune")


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
        folder.rename(workdir.root / ".compress" / "building" / folder.name)
    with Workdir(tmp_path / "run").open():
        assert sorted(path.name for path in workdir.stages.glob("[0-9]*")) == ["01-distill"]
        assert workdir.find(Slot(1, "distill"), "a") is not None


def test_a_stage_whose_place_was_made_free_is_put_there_on_opening(tmp_path: Path) -> None:
    """As a kill between the two renames leaves it."""
    workdir = Workdir(tmp_path / "run")
    own = workdir.root / ".compress"
    with workdir.open():
        old = finish(workdir, SLOT, "a", "old")
        old.rename(own / "leaving" / old.name)
        new = finish(workdir, SLOT, "b", "new")
        new.rename(own / "building" / new.name)
    with Workdir(workdir.root).open():
        assert workdir.find(SLOT, "b") is not None
    assert names(own / "leaving") == names(own / "building") == []


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


@pytest.mark.parametrize(
    "files",
    [
        [
            "stages/05-lighting/scene.txt",
            "stages/backup.old/a",
            "stages/wip.partial/b",
            "index.html",
        ],
        ["stages/stage.json"],
        ["manifest.json"],
        [".gitignore"],
        [".compress/files.json"],
    ],
)
def test_a_folder_without_a_marker_is_left_as_it_is(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(name)
    before = contents(tmp_path)
    workdir = Workdir(tmp_path / "mine")
    with pytest.raises(InputError, match=r"isn't empty .* it has no \.compress-run\.json"):
        workdir.require_usable()
    with pytest.raises(InputError, match="isn't empty"), workdir.open():
        workdir.forget()
    assert contents(tmp_path) == before


def test_an_empty_folder_and_a_link_to_one_may_be_a_runs(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    for _ in range(2):
        with Workdir(tmp_path / "run").open():
            pass
    assert (tmp_path / "disk" / ".compress-run.json").is_file()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("file", "isn't a folder"),
        ("file/below/it", "can't be made: .*file isn't a folder"),
        ("nowhere", "is a link that leads nowhere"),
        ("/proc/compress", "can't be used: No such file or directory"),
        ("x" * 5000, "can't be used: File name too long"),
        ("/".join(["deep"] * 1000), "can't be used: File name too long"),
        ("a\0b", "can't be used: .*null"),
    ],
)
def test_no_folder_can_be_made_there(tmp_path: Path, output: str, said: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=said) as error, Workdir(tmp_path / output).open():
        pass
    assert "Name another" in str(error.value)
    assert len(str(error.value)) < 1200
    assert contents(tmp_path) == before


def test_a_folder_that_cant_be_written_to_is_told(tmp_path: Path, monkeypatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    with Workdir(tmp_path / "run").open():
        pass
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match="Permission denied"), Workdir(tmp_path / "run").open():
        pass
    with pytest.raises(InputError, match="Permission denied"), Workdir(tmp_path / "new").open():
        pass


MARKERS = {
    "": "isn't as it was written",
    "{": "isn't as it was written",
    "[]": "isn't as it was written",
    "{}": "isn't as it was written",
    "\0\1": "isn't as it was written",
    "[" * 50_000: "isn't as it was written",
    '{"schema": 1, "id": "0"}': "isn't as it was written",
    '{"schema": 2}': "later version of compress: it has schema 2, and this version reads schema 1",
    sealed({"schema": 1, "id": None}): "isn't as it was written",
}


@pytest.mark.parametrize(("marker", "said"), MARKERS.items(), ids=range(len(MARKERS)))
def test_a_marker_that_cant_be_trusted_is_refused(tmp_path: Path, marker: str, said: str) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        finish(workdir, SLOT, "a")
    (workdir.root / ".compress-run.json").write_text(marker)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=said) as error, workdir.open():
        pass
    assert len(str(error.value)) < 1200
    assert contents(tmp_path) == before


def test_a_run_that_was_killed_at_its_very_beginning_goes_on(tmp_path: Path) -> None:
    (tmp_path / ".compress-run.json").touch()
    with Workdir(tmp_path).open():
        pass
    assert json.loads((tmp_path / ".compress-run.json").read_text())["schema"] == 1


@pytest.mark.parametrize("what", [".compress", ".compress/lock", "stages", "stages/shared"])
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_in_the_way_of_the_runs_own_is_kept(tmp_path: Path, what: str, kind: str) -> None:
    workdir, outside = Workdir(tmp_path / "run"), tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    with workdir.open():
        pass
    path = workdir.root / what
    path.rename(tmp_path / "gone")
    if kind == "file":
        path.write_text("mine")
    elif kind == "link":
        path.symlink_to(outside)
    else:
        path.mkdir()
        (path / "mine").write_text("mine")
    with workdir.open():
        finish(workdir, SLOT, "a")
        workdir.forget()
    found = contents(workdir.root)
    mine = [name for name, content in found.items() if content in (b"mine", os.fsencode(outside))]
    assert len(mine) == 1
    assert contents(outside) == {"mine": b"mine"}
    if kind != "folder" or what == ".compress/lock":
        assert "kept" in mine[0]
        assert any(f"it is kept as {mine[0].removesuffix('/mine')}" in n for n in workdir.notes)


def test_rows_are_kept_with_their_key(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        finish(workdir, SLOT, "a")
        workdir.save_row(SLOT, "k", {"params": 1}, answers=b"")
        assert workdir.find_row(SLOT, "k") == {"params": 1}
        assert workdir.find_row(SLOT, "l") is None
        assert workdir.find(SLOT, "a") is not None, "a row doesn't spoil the stage"


def test_answers_are_kept_beside_their_row_and_go_with_the_stage(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        folder = finish(workdir, SLOT, "a")
        for content in (b"first", b"second"):
            workdir.save_row(SLOT, "k", {"params": 1}, answers=content)
            assert (folder / "answers.safetensors").read_bytes() == content
            assert workdir.find_row(SLOT, "k") == {"params": 1}
        workdir.forget()
        assert not folder.exists()
    assert not workdir.notes


@pytest.mark.parametrize("content", [b"edited", None])
def test_a_row_is_measured_again_if_its_answers_changed(
    tmp_path: Path, content: bytes | None
) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        folder = finish(workdir, SLOT, "a")
        workdir.save_row(SLOT, "k", {"params": 1}, answers=b"measured")
        answers = folder / "answers.safetensors"
        answers.unlink()
        if content is not None:
            answers.write_bytes(content)
        assert workdir.find_row(SLOT, "k") is None
        assert workdir.notes == [
            "02-prune was measured again: its answers.safetensors wasn't as a run had left it"
        ]
        workdir.save_row(SLOT, "k", {"params": 1}, answers=b"measured")
        assert workdir.find_row(SLOT, "k") == {"params": 1}
        kept = folder / "answers.safetensors.kept-1"
        assert kept.exists() == (content is not None)


ODD = ["", "{", "[]", "{}", "null", "\0\1", "[" * 50_000, '{"schema": 1, "key": "a"}', "7"]


@pytest.mark.parametrize("content", [*ODD, None], ids=range(len(ODD) + 1))
def test_a_stage_whose_record_cant_be_trusted_is_done_again(
    tmp_path: Path, content: str | None
) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        folder = finish(workdir, SLOT, "a", "old")
    if content is None:
        record = json.loads((folder / "stage.json").read_text())
        content = json.dumps({**record, "seconds": 0.1})
    (folder / "stage.json").write_text(content)
    with workdir.open():
        assert workdir.find(SLOT, "a") is None
        assert workdir.notes == [
            "02-prune was done again: its stage.json wasn't as a run had left it"
        ]
        finish(workdir, SLOT, "a", "new")
        assert workdir.find(SLOT, "a") is not None
        assert workdir.notes[1:] == [
            "what no run had written at stages/02-prune is kept as stages/kept-1.02-prune"
        ]
    kept = workdir.stages / "kept-1.02-prune"
    assert (kept / "checkpoint.safetensors").read_text() == "old"
    assert (kept / "stage.json").read_text() == content


def test_a_stage_whose_files_changed_is_done_again_with_a_note(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        folder = finish(workdir, SLOT, "a")
        (folder / "checkpoint.safetensors").rename(tmp_path / "elsewhere")
        (folder / "checkpoint.safetensors").symlink_to(tmp_path / "elsewhere")
        assert workdir.find(SLOT, "a") is None, "no link is followed"
        assert workdir.find(SLOT, "b") is None
    (note,) = workdir.notes
    assert note == (
        "02-prune was done again: its checkpoint.safetensors wasn't as a run had left it"
    )


@pytest.mark.parametrize("content", [*ODD, None], ids=range(len(ODD) + 1))
def test_a_row_that_cant_be_trusted_is_measured_again(tmp_path: Path, content: str | None) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        folder = finish(workdir, SLOT, "a")
        workdir.save_row(SLOT, "k", {"quality": 0.5}, answers=b"")
        if content is None:  # an edited figure, with a digest of its own that fits
            content = sealed({"schema": 1, "key": "k", "row": {"quality": 0.999}})
        (folder / "row.json").write_text(content)
        assert workdir.find_row(SLOT, "k") is None
        assert workdir.notes == [
            "02-prune was measured again: its row.json wasn't as a run had left it"
        ]
        workdir.save_row(SLOT, "k", {"quality": 0.5}, answers=b"")
        assert workdir.find_row(SLOT, "k") == {"quality": 0.5}
        assert (folder / "row.json.kept-1").read_text() == content


@pytest.mark.parametrize("name", ["stage.json", "row.json"])
def test_a_later_versions_files_are_refused_by_their_version(tmp_path: Path, name: str) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        folder = finish(workdir, SLOT, "a")
        workdir.save_row(SLOT, "k", {"quality": 0.5}, answers=b"")
        (folder / name).write_text('{"schema": 2, "energy": 1}')
        read = workdir.find if name == "stage.json" else workdir.find_row
        with pytest.raises(InputError, match=f"{name} was written by a later version of compress"):
            read(SLOT, "a")


def test_a_later_versions_record_of_files_is_refused_on_opening(tmp_path: Path) -> None:
    with Workdir(tmp_path).open():
        pass
    (tmp_path / ".compress" / "files.json").write_text('{"schema": 2}')
    with pytest.raises(InputError, match="it has schema 2"), Workdir(tmp_path).open():
        pass


def test_slots_are_found_by_their_exact_number(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        for index in (1, 10, 100, 101):
            finish(workdir, Slot(index, "x"), "a")
        finish(workdir, Slot(100, "y"), "b")
        assert stages_in(workdir) == ["01-x", "10-x", "100-y", "101-x"]
        workdir.trim(101)
        assert stages_in(workdir) == ["01-x", "10-x", "100-y"]


@pytest.mark.parametrize("name", ["x.old", "x.partial", "shared", "building", "kept-1", "x.kept-1"])
def test_stages_may_have_the_names_of_working_folders(tmp_path: Path, name: str) -> None:
    workdir, slot = Workdir(tmp_path / "run"), Slot(1, name)
    with workdir.open():
        finish(workdir, Slot(2, "x"), "other")
        finish(workdir, slot, "a")
        finish(workdir, slot, "b")
    with workdir.open():
        assert workdir.find(slot, "b") is not None
        assert workdir.find(Slot(2, "x"), "other") is not None
        assert stages_in(workdir) == [slot.folder, "02-x"]
    assert workdir.notes == []


def test_what_a_stage_may_not_leave(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        (workdir.begin(SLOT) / "link").symlink_to(tmp_path)
        with pytest.raises(StageError, match="'link' in its folder"):
            workdir.commit(SLOT, {"key": "a"})
        (workdir.begin(SLOT) / "row.json").touch()
        with pytest.raises(StageError, match="none of them named stage"):
            workdir.commit(SLOT, {"key": "a"})


def test_what_users_put_among_the_stages_stays(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        for index in range(3):
            finish(workdir, Slot(index, "x"), "a")
    mine = {
        "stages/05-lighting/scene.txt": "in no stage's way",
        "stages/01-mine/a": "of a stage's number",
        "stages/backup.old/a": "as working folders are named elsewhere",
        "stages/02-x/notes.txt": "in a stage's folder",
        "stages/shared/notes.txt": "in the shared folder",
        "stages/shared/teacher/mine/0.rows": "in a folder that is no cache's",
        ".compress/aside/notes.txt": "in the folder for work",
        "README.md": "in the way of the card",
        "x.partial": "mine",
    }
    for name, text in mine.items():
        (workdir.root / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir.root / name).write_text(text)
    with workdir.open():
        workdir.trim(2)
        workdir.forget()
        finish(workdir, Slot(1, "x"), "b")
    assert stages_in(workdir) == [
        "01-mine", "01-x", "05-lighting", "backup.old", "kept-1.02-x", "kept-1.shared",
    ]  # fmt: skip
    found = contents(workdir.root)
    moved = {"stages/02-x/": "stages/kept-1.02-x/", "stages/shared/": "stages/kept-1.shared/"}
    for name, text in mine.items():
        for old, new in moved.items():
            name = name.replace(old, new)
        assert found[name] == text.encode()
    assert workdir.notes == [
        "what no run had written at stages/02-x is kept as stages/kept-1.02-x",
        "what no run had written in stages/shared is kept as stages/kept-1.shared",
    ]


def test_a_link_among_the_stages_is_not_followed(tmp_path: Path) -> None:
    workdir, outside = Workdir(tmp_path / "run"), tmp_path / "outside"
    with workdir.open():
        finish(workdir, SLOT, "a").rename(outside)
        (workdir.stages / SLOT.folder).symlink_to(outside)
        before = contents(outside)
        assert workdir.find(SLOT, "a") is None
        workdir.trim(0)
        finish(workdir, SLOT, "b")
        workdir.forget()
    assert contents(outside) == before
    assert (workdir.stages / "kept-1.02-prune").is_symlink()


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
        cache = workdir.shared / "teacher" / ("a" * 16 + "-" + "b" * 16)
        calibration = workdir.shared / "calibration" / ("extremes-" + "c" * 32)
        kept = [cache / "log", cache / "0.rows", cache.with_name(cache.name + ".used"), calibration]
        for path in kept:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("" if path.suffix == ".used" else "answers")
        workdir.trim(0)
        assert all(path.is_file() for path in kept)
        workdir.forget()
        assert names(workdir.shared) == []
    assert workdir.notes == []


def test_what_a_killed_run_was_writing_goes_with_the_next(tmp_path):
    workdir = Workdir(tmp_path / "run")
    with workdir.open():
        cache = workdir.shared / "teacher" / ("a" * 16 + "-" + "b" * 16)
        calibration = workdir.shared / "calibration"
        work = workdir.root / ".compress" / "aside"
        left = [
            cache / ".arrays.json.abcd_012.partial",
            calibration / (".histograms-" + "c" * 32 + ".abcd_012.partial"),
            work / ".row.json.abcd_012.partial",
            work / "put-0123abcd" / "new" / "model.onnx",
            work / "scratch-0123abcd" / "x",
        ]
        mine = [
            cache / ".arrays.json.partial",
            calibration / ".mine.abcd_012.partial",
            work / "put-mine" / "x",
            workdir.root / ".model.onnx.abcd_012.partial",
        ]
        for path in (*left, *mine):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
    with workdir.open():
        pass
    assert not [path for path in left if path.exists()]
    assert all(path.is_file() for path in mine)
