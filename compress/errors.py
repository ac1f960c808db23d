"""Everything that `compress` raises on purpose, and the exit codes of the command.

CompressError                 exit code 3: the run failed
├── RecipeError               exit code 2: the recipe is wrong; holds every problem, with file:line
├── InputError                exit code 2: what the recipe names is wrong
│   ├── ModelError            a model that can't be loaded, or not for this task
│   └── DataError             data that can't be read, is empty, or doesn't fit the model
└── StageError                exit code 3: a stage could not do its work
    ├── LoadError             an ONNX file that can't be read, or that ONNX Runtime can't load
    ├── TargetError           a target that the model can't meet
    └── ParityError           an ONNX file that doesn't answer as its torch module does

A message says what is wrong, what is allowed, and what was given: see `expected` and `unknown`.
"""

import difflib
from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import islice


class ExitCode(IntEnum):
    """Exit codes of the command; if a signal ended it, the code is 128 + the signal's number."""

    PASSED = 0
    """The command succeeded."""
    CHECK_FAILED = 1
    """A gate of the recipe, or a check of the bundle, doesn't hold."""
    WRONG_INPUT = 2
    """The recipe, what it names, or the command line is wrong."""
    FAILED = 3
    """A stage or another part of the work failed."""


class CompressError(Exception):
    """Root of the exceptions of `compress`. `exit_code` is the command's exit code."""

    exit_code: ExitCode = ExitCode.FAILED


class RecipeError(CompressError):
    """Raised when a recipe has one or more problems.

    Parameters
    ----------
    problems : a line for each, in the order of the recipe's lines.
    """

    exit_code = ExitCode.WRONG_INPUT

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class InputError(CompressError):
    """Raised when a thing that the recipe names (a model, data, an output folder) can't be used."""

    exit_code = ExitCode.WRONG_INPUT


class ModelError(InputError):
    """Raised when a model can't be loaded, or can't do the task."""


class DataError(InputError):
    """Raised when data can't be read, is empty, or doesn't fit the model."""


class StageError(CompressError):
    """Raised when a stage can't do its work."""


class LoadError(StageError):
    """Raised when an ONNX file can't be read, or ONNX Runtime can't load it."""


class TargetError(StageError):
    """Raised when a model can't meet a compression target; the message gives the best possible."""


class ParityError(StageError):
    """Raised when an ONNX file's answers differ from its torch module's beyond the tolerance."""


LONGEST = 400
"""Characters of a value, or of a library's message, that a message repeats."""
MOST_KNOWN = 1600
"""Characters of the known names that a message lists."""
_COMPARED = 1000
"""Known names that an unknown one is compared with. Each comparison takes a millisecond."""


def clipped(text: str, most: int = LONGEST) -> str:
    """Return the beginning and end of a text, with the number of characters left out.

    >>> clipped("a" * 10 + "b" * 500 + "c" * 10, most=40)
    'aaaaaaaaaabbbbbbbbbb … (480 characters) … bbbbbbbbbbcccccccccc'
    """
    if len(text) <= most + 40:
        return text
    half = most // 2
    return f"{text[:half]} … ({len(text) - 2 * half:,} characters) … {text[-half:]}"


def expected(name: str, allowed: str, got: object) -> str:
    """Return the sentence for a bad value: its name, what is allowed, what was given.

    >>> expected("ratio", "a float in [0, 1)", 1.5)
    "'ratio' must be a float in [0, 1). Got 1.5."
    """
    return f"{name!r} must be {allowed}. Got {clipped(repr(got))}."


def unknown(kind: str, name: str, known: Iterable[str], *, nearness: float = 0.6) -> str:
    """Return the sentence for an unknown name: the known names, and the nearest of them.

    Parameters
    ----------
    nearness : least similarity of a suggested name, in [0, 1]; choose more if names share long
        words.

    >>> unknown("stage", "prun", ["distill", "prune"])
    "unknown stage 'prun'. Known: distill, prune. Did you mean 'prune'?"
    """
    names = sorted(known)
    listed = clipped(", ".join(names), MOST_KNOWN) or "none"
    sentence = f"unknown {kind} {clipped(name)!r}. Known: {listed}."
    near = (one for one in names if len(name) <= LONGEST and abs(len(one) - len(name)) <= 20)
    nearest = difflib.get_close_matches(name, list(islice(near, _COMPARED)), n=1, cutoff=nearness)
    return f"{sentence} Did you mean {nearest[0]!r}?" if nearest else sentence


def few(keys: list[str], *, most: int = 5) -> str:
    """Return the first names of a list, and the number of further ones, in words."""
    rest = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + rest
