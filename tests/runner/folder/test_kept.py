"""What isn't a run's own survives it bit for bit, whatever it did and wherever it died."""

import multiprocessing
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compress.errors import InputError
from compress.recipe.schema import NAME_PATTERN
from compress.runner.folder.workdir import Slot, Workdir
from tests.runner.folders import contents, finish, names

SPECIAL = ("x", "x.old", "x.partial", "shared", "building", "stage.json", "kept-1", "x.kept-1")
SLOTS = st.builds(
    Slot,
    st.sampled_from([0, 1, 2, 9, 10, 11, 99, 100, 101, 123]),
    st.sampled_from(SPECIAL) | st.from_regex(NAME_PATTERN.replace("$", r"\Z"), fullmatch=True),
)
PUBLISHED = st.sets(
    st.sampled_from(
        ["README.md", "manifest.json", "model.onnx", "onnx/model.onnx", "onnx", "a/b/c", "a"]
    ),
    min_size=1,
).filter(lambda found: not {"onnx", "onnx/model.onnx"} <= found and not {"a", "a/b/c"} <= found)
KEYS = st.sampled_from("kl")


def actions(slots, *, most):
    """What a run does, with stages at a few places so that they meet."""
    slot = st.sampled_from(slots)
    one = st.one_of(
        st.tuples(st.just("finish"), slot, KEYS),
        st.tuples(st.just("finish"), slot, KEYS),
        st.tuples(st.just("publish"), PUBLISHED, KEYS),
        st.tuples(st.just("publish"), PUBLISHED, KEYS),
        st.tuples(st.just("row"), slot, KEYS),
        st.tuples(st.just("begin"), slot),
        st.tuples(st.just("trim"), st.integers(0, 130)),
        st.tuples(st.just("forget")),
    )
    return st.lists(one, min_size=1, max_size=most)


SAME = "labels.json"
"""A file that is the same in every bundle."""
FREE = ("mine.txt", "x.partial", ".model.onnx.abcd_012.partial", "docs/mine", "stages/zz/mine")
"""Places that a run never needs."""
OTHERS = (
    "stages/shared/mine",
    "stages/shared/teacher/mine",
    "stages/kept-1.00-x",
    "README.md.kept-1",
    ".compress/mine",
    ".compress/aside/mine",
    ".compress/leaving/mine",
    ".compress/building/mine",
)


def places(slots):
    """Where users put a file: anywhere, or (a number) in place of one that is there."""
    slot = st.sampled_from(slots)
    return st.one_of(
        st.integers(0, 200),
        st.integers(0, 200),
        st.sampled_from((*FREE, *OTHERS)),
        PUBLISHED.map(lambda found: sorted(found)[0]),
        slot.map(lambda slot: f"stages/{slot.folder}/mine"),
        slot.map(lambda slot: f"stages/{slot.folder}"),
    )


@st.composite
def sessions(draw):
    """(places that the user writes to, what a run then does, when it is killed), several times."""
    slots = draw(st.lists(SLOTS, min_size=1, max_size=3))
    one = st.tuples(
        st.lists(places(slots), max_size=4),
        actions(slots, most=5),
        st.none() | st.integers(0, 150),
    )
    return draw(st.lists(one, min_size=2, max_size=4))


OWN = (
    ".compress/building/0",
    ".compress/building/1",
    ".compress/building/9",
    ".compress/aside/put-",
)
"""Where a killed run's unfinished work is; nothing else is swept."""


def act(workdir, action, *given):
    if action == "begin":
        (workdir.begin(*given) / "half").write_text("half")
    elif action == "finish":
        slot, key = given
        finish(workdir, slot, key, f"weights {slot.index} {key}")
    elif action == "row":
        if workdir.find(given[0], "k") is not None:
            workdir.save_row(given[0], given[1], {"quality": 0.5}, answers=b"")
    elif action == "publish":
        found, key = given
        with workdir.top.replacing("bundle") as folder:
            for name in found:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(name if name == SAME else f"{name} {key}")
    else:
        getattr(workdir, action)(*given)


def run(root, done):
    """Do all that; 1 if the folder is refused."""
    workdir = Workdir(root)
    try:
        with workdir.open():
            for action in done:
                act(workdir, *action)
    except InputError:
        return 1
    return 0


def run_killed(root, done, killed_at):
    """Do all that in a process that ends without warning before it changes the n-th thing."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = killed_at
    kinds = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod"}

    def count(event, arguments):
        nonlocal left
        if event in kinds and str(arguments[0]).startswith(str(root)):
            left -= 1
            if left < 0:
                os._exit(9)

    try:
        sys.addaudithook(count)
        os._exit(run(root, done))
    except BaseException as error:  # noqa: BLE001 (a child must not go on as pytest)
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(3)


def put(root, place, mine, number):
    """Let the user write a file; `mine` is what they have written so far, by its content."""
    if isinstance(place, int):
        there = sorted(name for name in contents(root) if not name.startswith((".compress-", *OWN)))
        place = there[place % len(there)] if there else "mine.txt"
    path = root / place
    if path.is_dir() or any(parent.is_file() for parent in path.parents):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.is_file() else None
    mine.pop(before, None)
    content = f"the user's {number}".encode()
    path.write_bytes(content)
    mine[content] = place


def serve(asked):
    """Call `run_killed` for each of what is asked, until None is."""
    os.fsync = lambda handle: None
    while (given := asked.recv()) is not None:
        asked.send(run_killed(*given))


@pytest.fixture(scope="module")
def killed():
    """`run_killed`, forked from a small process: to fork that of the tests takes far longer."""
    asked, served = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(served,))
    process.start()

    def run_there(*given):
        asked.send(given)
        return asked.recv()

    yield run_there
    asked.send(None)
    process.join()


@pytest.fixture(autouse=True)
def _no_flush(monkeypatch):
    """Nothing here outlives the machine; it costs most of the time."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(several=sessions(), last=st.tuples(SLOTS, PUBLISHED))
def test_what_users_put_into_a_runs_folder_survives(killed, several, last):
    with tempfile.TemporaryDirectory() as folder:
        root, mine, number = Path(folder).resolve() / "run", {}, 0
        with Workdir(root).open():
            pass
        slot, found = last
        final = [("finish", slot, "k"), ("publish", found, "k")]
        for written, done, killed_at in [*several, ([], final, None)]:
            for place in written:
                number += 1
                put(root, place, mine, number)
            if killed_at is None:
                assert run(root, done) == 0
            else:
                assert killed(root, done, killed_at) in (0, 9)
            there = contents(root)
            assert set(mine) <= set(there.values())
            for content, place in mine.items():
                assert place not in FREE or there[place] == content
        workdir = Workdir(root)
        with workdir.open():
            assert workdir.find(slot, "k") is not None
            assert all((root / name).read_text() == f"{name} k" for name in found)
        for name in ("building", "leaving", "aside"):
            assert set(names(root / ".compress" / name)) <= {"mine"}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    tree=st.lists(places([Slot(0, "x"), Slot(1, "y.old")]), min_size=1, max_size=6),
    done=actions([Slot(0, "x"), Slot(1, "y.old")], most=3),
)
def test_a_folder_that_is_no_runs_is_never_changed(tree, done):
    with tempfile.TemporaryDirectory() as folder:
        root, mine = Path(folder).resolve() / "run", {}
        root.mkdir()
        for number, place in enumerate(tree):
            put(root, place, mine, number)
        before = contents(root)
        assert run(root, done) == 1
        assert contents(root) == before


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(count=st.integers(1, 130), kept=st.integers(0, 130), name=st.sampled_from(SPECIAL))
def test_stages_of_any_number_are_kept_apart(count, kept, name):
    with tempfile.TemporaryDirectory() as folder:
        workdir = Workdir(Path(folder) / "run")
        step = max(1, count // 15)
        slots = [Slot(index, name) for index in {*range(0, count, step), 1, 10, 100}]
        with workdir.open():
            for slot in slots:
                finish(workdir, slot, str(slot.index))
            workdir.trim(kept)
            left = [slot for slot in slots if workdir.find(slot, str(slot.index)) is not None]
        assert {slot.index for slot in left} == {slot.index for slot in slots if slot.index < kept}
        assert workdir.notes == []


@pytest.mark.parametrize(("again", "step"), [(None, 2), (12, 5), (16, 5), (20, 5), (24, 5)])
def test_a_bundle_is_the_old_or_the_new_one_wherever_a_run_was_killed(
    killed, tmp_path, again, step
):
    """`again`: the run that puts things right is killed too."""
    root, before = tmp_path / "run", tmp_path / "before"
    old = ("publish", {"README.md", "manifest.json", "onnx", "a/b/c", SAME}, "k")
    new = ("publish", {"README.md", "manifest.json", "onnx/model.onnx", "a", SAME}, "l")
    bundles = []
    for done in (new, old):
        with (workdir := Workdir(root)).open():
            act(workdir, *done)
        bundles.append(contents_of_bundle(root))
    root.rename(before)
    for killed_at in range(0, 200, step):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(before, root)
        code = killed(root, [new], killed_at)
        if again is not None:
            killed(root, [], again)
        with (workdir := Workdir(root)).open():
            assert contents_of_bundle(root) in bundles
            act(workdir, *old)
            assert contents_of_bundle(root) == bundles[1], "no file was taken for the user's"
        if code == 0:
            break
    assert 20 < killed_at < 199


def contents_of_bundle(root):
    own = (".compress", "stages")
    return {name: text for name, text in contents(root).items() if not name.startswith(own)}
