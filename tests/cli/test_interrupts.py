"""Signals: where they strike, what they leave, and the exit code."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import compress
from compress.cli.app import app
from compress.cli.interrupts import Interrupted, Interrupts
from compress.cli.process import _WITHOUT_RESUMING
from compress.core.progress import Silent
from compress.errors import StageError
from tests.launching import command, forked

COMMAND = (sys.executable, "-m", "compress")


@pytest.fixture
def interrupts():
    found = Interrupts()
    found.listen()
    yield found
    found.settle()
    found.restore()


def interrupt(number=signal.SIGINT):
    os.kill(os.getpid(), number)
    time.sleep(1)


class Dropping:
    """Python drops what is raised in its finalizer."""

    def __del__(self):
        interrupt()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_strikes_at_once(interrupts, number):
    with pytest.raises(Interrupted) as raised:
        interrupt(number)
    assert raised.value.number == interrupts.came == number


def test_what_foreign_code_swallows_comes_back_at_the_next_step(interrupts):
    progress = interrupts.watched(Silent())
    with progress.track("work", 2) as advance:
        advance()
        with contextlib.suppress(BaseException):
            interrupt()
        with pytest.raises(Interrupted):
            advance(info="on")
    with pytest.raises(Interrupted):
        progress.say("more")
    with pytest.raises(Interrupted), progress.track("more work", 1):
        pass


def test_what_a_finalizer_drops_comes_back_by_itself(interrupts, capsys):
    def drop():
        Dropping()
        time.sleep(5)

    with pytest.raises(Interrupted):
        drop()
    assert "ignored" not in capsys.readouterr().err


def test_only_the_first_is_raised(interrupts):
    with pytest.raises(Interrupted) as raised:
        interrupt(signal.SIGTERM)
    for _ in range(4):
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
    assert raised.value.number == signal.SIGTERM


def test_a_stream_without_a_reader_strikes_in_the_main_thread(interrupts):
    def strike():
        threading.Thread(target=interrupts.strike, args=(signal.SIGPIPE,)).start()
        time.sleep(5)

    with pytest.raises(Interrupted) as raised:
        strike()
    assert raised.value.number == signal.SIGPIPE


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    found = Interrupts()
    found.listen()
    assert signal.getsignal(signal.SIGINT) != before[0]
    found.restore()
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before


def test_a_process_that_ignores_interrupts_goes_on_doing_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    found = Interrupts()
    try:
        found.listen()
        os.kill(os.getpid(), signal.SIGINT)
        found.watched(Silent()).say("still here")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        found.restore()
        signal.signal(signal.SIGINT, before)


def test_a_forked_process_dies_of_its_signals_alone(interrupts):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"ready")
        time.sleep(30)
        os._exit(1)
    assert os.read(reading, 5) == b"ready"
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    time.sleep(0.1)
    assert interrupts.came is None


def test_work_that_never_ends_is_ended(tmp_path):
    said = tmp_path / "said"
    program = (
        "import pathlib, time\nfrom compress.cli import interrupts\n"
        "interrupts.PATIENCE_S = 0.5\n"
        "found = interrupts.Interrupts()\nfound.listen()\n"
        f"found.last_words = lambda: pathlib.Path({str(said)!r}).write_text('over')\n"
        "while True:\n"
        "    try:\n        print('ready', flush=True)\n        time.sleep(99)\n"
        "    except BaseException:\n        pass\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert said.read_text() == "over"


def test_what_can_be_resumed_is_known_before_the_subcommands_are():
    assert {command.name or command.callback.__name__ for command in app.registered_commands} == {
        *_WITHOUT_RESUMING, "eval", "run",
    }  # fmt: skip


SLOW = """\
version: 1
name: slow
model:
  python: compress.models.resnet:resnet
  arguments: {blocks: [1], width: 8, in_channels: 1, num_classes: 10}
task: image-classification
data: {sklearn: digits, limit: {train: 600, test: 32}, calibration_samples: 8}
measure: {batch_sizes: [1], threads: 1, rounds: 5, warmup: 1, seconds: 0.01, samples: 32}
stages:
  - use: train
    training: {epochs: 1000, batch_size: 32}
  - use: export
"""


def status(folder: Path) -> str | None:
    path = folder / "run" / "report.json"
    return json.loads(path.read_text())["status"] if path.is_file() else None


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run's folder with the original's row, which is then taken from disk."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "slow.yaml").write_text(SLOW)
    overrides = ["stages.train.training.precision=fp16"]
    with pytest.raises(StageError, match="fp16"):
        compress.run(folder / "slow.yaml", overrides=overrides, output=folder / "run", threads=1)
    return folder


def at_its_training(lines):
    """Read what a run says until it is at its training, which goes on for long."""
    assert "01-train\n" in iter(lines.readline, "")


@pytest.mark.slow
def test_a_run_that_is_ended_by_a_hangup_and_more_signals(measured, tmp_path):
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    words = ["slow.yaml", "--output", "run", "--threads", "1"]
    with forked(command, words, folder=tmp_path) as run:
        at_its_training(run.stdout)
        for number in (signal.SIGHUP, *[signal.SIGINT] * 4):
            run.send_signal(number)
            time.sleep(0.01)
        ended = run.wait()
    assert ended.returncode == 129
    assert ended.stderr == "Interrupted. Run the same command again to resume.\n"
    assert status(tmp_path) == "interrupted"


def talking(words):
    """The command, which doesn't wait ten seconds before it says more about the same work."""
    from compress.report import progress

    progress.LINE_SECONDS = progress.SILENCE_SECONDS = 0.1
    command(words)


@pytest.mark.slow
def test_a_run_whose_reader_goes(measured, tmp_path):
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    words = ["slow.yaml", "--output", "run", "--threads", "1"]
    with forked(talking, words, folder=tmp_path) as run:
        at_its_training(run.stdout)
        run.stdout.close()
        ended = run.wait()
    assert ended.returncode == 141
    assert ended.stderr == "Interrupted. Run the same command again to resume.\n"
    assert status(tmp_path) == "interrupted"


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        (">&-", 0),
        ("2>&-", 0),
        ("<&- >&- 2>&-", 0),
        (">/dev/full", 3),
        ("| true", 141),
        ("--set seed=x 2>&-", 2),
        ("--set seed=x 2>/dev/full", 2),
    ],
)
def test_standard_streams(tmp_path, streams, code):
    (tmp_path / "slow.yaml").write_text(SLOW)
    line = f"set -o pipefail; {' '.join(COMMAND)} check slow.yaml {streams}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr
