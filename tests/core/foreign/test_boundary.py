"""Whatever foreign code raises is one error that names it; the streams stay open."""

import os
import sys

import pytest

from compress.core.foreign.boundary import foreign, foreign_within, reading
from compress.errors import DataError, InputError, ModelError, StageError


class SpeechlessError(Exception):
    def __str__(self):
        raise ValueError


class Odd(BaseException):
    pass


def raises(error):
    raise error


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ValueError("bad\nvalue"), "net:make failed: ValueError: bad value"),
        (OSError(2, "gone"), "net:make failed: FileNotFoundError: .* gone"),
        (RecursionError(), "net:make failed: RecursionError"),
        (MemoryError(), "net:make failed: MemoryError"),
        (ExceptionGroup("all", [ValueError(), OSError()]), "ExceptionGroup: all"),
        (Odd("odd"), "net:make failed: Odd: odd"),
        (GeneratorExit(), "net:make failed: GeneratorExit"),
        (StopIteration(3), "net:make failed: StopIteration: 3"),
        (SystemExit(0), r"net:make ended the program \(exit code 0\)"),
        (SystemExit("bye"), r"net:make ended the program \(exit code 'bye'\)"),
        (SystemExit(), r"net:make ended the program \(exit code None\)"),
        (SpeechlessError(), "net:make failed: SpeechlessError$"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_raised_names_the_function(raised, said):
    with pytest.raises(ModelError, match=said) as caught, foreign("net:make", error=ModelError):
        raise raised
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_long_message_is_cut():
    with pytest.raises(InputError) as caught, foreign("net:make"):
        raise ValueError("x" * 100_000)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), StageError("ours")])
def test_interruptions_and_our_own_errors_pass(raised):
    with pytest.raises(type(raised)) as caught, foreign("net:make"):
        raise raised
    assert caught.value is raised


@pytest.mark.parametrize("handle", [1, 2])
def test_a_closed_handle_is_opened_again(handle):
    with pytest.raises(InputError, match="net:make closed the standard"), foreign("net:make"):
        os.close(handle)
    os.fstat(handle)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_closed_stream_is_opened_again(name, monkeypatch, tmp_path):
    with (tmp_path / "stream").open("w") as stream:
        monkeypatch.setattr(sys, name, stream)
        with pytest.raises(InputError, match="net:make closed the standard"), foreign("net:make"):
            getattr(sys, name).close()
    assert not getattr(sys, name).closed


def test_what_lies_between_is_told_by_its_file():
    with (
        pytest.raises(InputError, match="'net:make' failed: ValueError: 3"),
        foreign_within({__file__: "'net:make'"}),
    ):
        raises(ValueError(3))
    with pytest.raises(ValueError, match="3"), foreign_within({"elsewhere.py": "'net:make'"}):
        raises(ValueError(3))
    with pytest.raises(InputError, match="ended the program"), foreign_within({}):
        sys.exit(0)


@pytest.mark.parametrize("raised", [UnicodeDecodeError("utf-8", b"", 0, 1, "x"), RecursionError()])
def test_damage_names_the_file(raised):
    with (
        pytest.raises(DataError, match=r"can't read a\.json: "),
        reading("a.json", error=DataError),
    ):
        raise raised
