"""Functions that a recipe names: found without running anything, called behind the boundary."""

import sys
from pathlib import Path

import pytest

from compress.core.foreign.entries import call_entry, entry_problem
from compress.errors import InputError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


RUNS = "from pathlib import Path\nPath('ran').touch()\n"


def test_finding_runs_nothing(here):
    write("parcel/__init__.py", RUNS)
    write("parcel/inner/__init__.py", RUNS)
    write("parcel/inner/net.py", RUNS)
    assert entry_problem("parcel.inner.net:make") is None
    assert "no module 'parcel.inner.nut'" in entry_problem("parcel.inner.nut:make")
    assert not Path("ran").exists()
    assert "parcel" not in sys.modules


def test_folders_without_init_are_packages(here):
    write("bare/inner/net.py", "def make(): return 3\n")
    assert call_entry("bare.inner.net:make", {}) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ValueError('boom')", "importing 'bad_net:make' failed: ValueError: boom"),
        ("import sys; sys.exit(0)", r"importing 'bad_net:make' ended the program \(exit code 0\)"),
        ("raise BaseException('x')", "importing 'bad_net:make' failed: BaseException: x"),
        ("import no_such_thing", "'bad_net:make' can't be imported: No module named"),
        ("def make(:", "importing 'bad_net:make' failed: SyntaxError"),
        ("def __getattr__(name): raise OSError(name)", "importing 'bad_net:make' failed: OSError"),
        ("made = 3", "has no 'make'"),
        ("make = 3", "must be a function, or anything callable. Got 3"),
        ("def make(width): return 3", r"bad_net:make\(width\) can't be called: missing a required"),
        ("def make(): raise SystemExit('bye')", "'bad_net:make' ended the program"),
        ("def make(): return 1 / 0", "'bad_net:make' failed: ZeroDivisionError"),
    ],
)
def test_what_fails_names_the_entry(here, text, said):
    write("bad_net.py", text)
    with pytest.raises(InputError, match=said) as caught:
        call_entry("bad_net:make", {})
    assert "\n" not in str(caught.value)


def test_a_source_that_was_changed_is_imported_anew(here):
    write("changing_part.py", "VALUE = 1\n")
    write("changing_net.py", "from changing_part import VALUE\ndef make(): return VALUE\n")
    assert call_entry("changing_net:make", {}) == 1
    loaded = sys.modules["changing_net"]
    assert call_entry("changing_net:make", {}) == 1
    assert sys.modules["changing_net"] is loaded
    write("changing_part.py", "VALUE = 1 + 1\n")
    assert call_entry("changing_net:make", {}) == 2


def test_the_module_of_this_folder_is_taken(here, monkeypatch):
    write("one/moving_net.py", "def make(): return 'one'\n")
    write("two/moving_net.py", "def make(): return 'two, the other'\n")
    monkeypatch.chdir("one")
    assert call_entry("moving_net:make", {}) == "one"
    monkeypatch.chdir("../two")
    assert call_entry("moving_net:make", {}) == "two, the other"
