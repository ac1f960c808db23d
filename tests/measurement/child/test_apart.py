"""Work in a process of its own: what it tells, and the ways in which it ends."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from compress.core.progress import Silent
from compress.errors import StageError
from compress.measurement.child.apart import apart
from tests.launching import ENVIRONMENT


def alive(process: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    return False


def test_items_and_progress_arrive(capfd):
    class Noted(Silent):
        def __init__(self):
            self.words = []

        @contextmanager
        def track(self, description, total):
            self.words.append((description, total))
            yield lambda steps=1, *, info="": self.words.append((steps, info))
            self.words.append("over")

        def say(self, line):
            self.words.append(line)

    noted = Noted()
    word = "\udcff ü"
    items = list(apart("tests.measurement.child.works:say", {"word": word}, progress=noted))
    assert items == [{"cwd": str(Path.cwd()), "word": word}]
    assert noted.words == [("work", 2), (1, "a"), (2, ""), "over", word]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("crash", r"loading bad\.onnx ended the process of ONNX Runtime by the signal SIGSEGV\. "
                  "It said: terminate called after throwing"),
        ("leave", "ended the process of ONNX Runtime with exit code 7"),
        ("hang", r"running bad\.onnx took longer than 0\.2 s and was ended\. .* --call-seconds"),
        ("grow", "there isn't enough memory"),
    ],
)  # fmt: skip
def test_what_ends_it_is_told(work, said):
    with pytest.raises(StageError, match=said):
        list(apart(f"tests.measurement.child.works:{work}", {}, limit_s=0.2))


def test_a_fault_of_ours_stays_one():
    with pytest.raises(RuntimeError, match="ZeroDivisionError: in the other process") as raised:
        list(apart("tests.measurement.child.works:break_down", {}))
    assert "child/works.py" in str(raised.value.__cause__)


def test_it_ends_with_whoever_stops_listening():
    items = apart("tests.measurement.child.works:hang", {}, limit_s=600)
    child = next(items)
    assert alive(child)
    items.close()
    assert not alive(child)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_its_parent(number):
    program = (
        "from compress.measurement.child.apart import apart\n"
        "for item in apart('tests.measurement.child.works:hang', {}, limit_s=600):\n"
        "    print(item, flush=True)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=ENVIRONMENT, text=True,
    )  # fmt: skip
    with parent:
        child = int(parent.stdout.readline())
        parent.send_signal(number)
    end = time.monotonic() + 60
    while alive(child):
        assert time.monotonic() < end
        time.sleep(0.02)
