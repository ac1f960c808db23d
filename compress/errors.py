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
    """What the command ends with; 128 + the signal's number where one ended it."""

    PASSED = 0
    """All is well."""
    CHECK_FAILED = 1
    """A gate of the recipe, or a check of the bundle, doesn't hold."""
    WRONG_INPUT = 2
    """The recipe, what it names, or the command line is wrong."""
    FAILED = 3
    """The work failed."""


class CompressError(Exception):
    """Root of the tree. `exit_code` is what the command ends with."""

    exit_code: ExitCode = ExitCode.FAILED


class RecipeError(CompressError):
    """A recipe with one or more problems.

    Parameters
    ----------
    problems : one line each, in the order of the recipe's lines.
    """

    exit_code = ExitCode.WRONG_INPUT

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class InputError(CompressError):
    """What the recipe names (a model, data, an output folder) can't be used."""

    exit_code = ExitCode.WRONG_INPUT


class ModelError(InputError):
    """A model that can't be loaded, or can't do the task."""


class DataError(InputError):
    """Data that can't be read, is empty, or doesn't fit the model."""


class StageError(CompressError):
    """A stage could not do its work."""


class LoadError(StageError):
    """An ONNX file that can't be read, or that ONNX Runtime can't load."""


class TargetError(StageError):
    """A compression target that this model can't meet; the message says the best that it can."""


class ParityError(StageError):
    """The ONNX file's answers differ from its torch module's by more than the tolerance."""


LONGEST = 400
"""Characters of a value, or of another's message, that a message repeats."""
MOST_KNOWN = 1600
"""Characters of the known names that a message lists."""
_COMPARED = 1000
"""Known names that an unknown one is compared with; each takes a millisecond."""


def clipped(text: str, most: int = LONGEST) -> str:
    """A text of bounded length: its beginning and its end, with what was left out counted.

    >>> clipped("a" * 10 + "b" * 500 + "c" * 10, most=40)
    'aaaaaaaaaabbbbbbbbbb … (480 characters) … bbbbbbbbbbcccccccccc'
    """
    if len(text) <= most + 40:
        return text
    half = most // 2
    return f"{text[:half]} … ({len(text) - 2 * half:,} characters) … {text[-half:]}"


def expected(name: str, allowed: str, got: object) -> str:
    """The sentence that every bad value gets: what, what is allowed, what was given.

    >>> expected("ratio", "a float in [0, 1)", 1.5)
    "'ratio' must be a float in [0, 1). Got 1.5."
    """
    return f"{name!r} must be {allowed}. Got {clipped(repr(got))}."


def unknown(kind: str, name: str, known: Iterable[str], *, nearness: float = 0.6) -> str:
    """The sentence that every unknown name gets: the known ones, and the nearest.

    Parameters
    ----------
    nearness : how much a known name must be like it to be suggested, in [0, 1]; more where names
        share long words.

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
    """The first names of a list, and how many more there are."""
    rest = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + rest
