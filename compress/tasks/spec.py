"""The recipe's `task`, where it is more than a name. No torch here."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from compress.core.foreign.entries import entry_problem
from compress.core.options import Options


class TaskSpec(Options):
    """A task with arguments, or one of the user's own."""

    name: str | None = None
    """Name of an installed task."""
    python: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    """A class "package.module:Class", a subclass of `compress.Task`. It may lie in the current
    directory."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the task's class."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.name is None) == (self.python is None):
            given = "none" if self.name is None else "both"
            raise ValueError(f"exactly one of name, python must be given. Got {given}.")
        return self

    @property
    def known_as(self) -> str:
        """The task's name, or the place of its class."""
        return self.name or self.python or ""

    def check(self) -> list[tuple[str, str]]:
        """(key, problem) pairs that can be found without importing the class."""
        problem = None if self.python is None else entry_problem(self.python)
        return [] if problem is None else [("python", problem)]
