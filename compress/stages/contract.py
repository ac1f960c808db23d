"""The contract of a stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from compress.core.options import Options

if TYPE_CHECKING:
    from compress.core.artifact import Artifact, Format
    from compress.core.context import Context
    from compress.data.spec import DataSpec
    from compress.models.spec import ModelSpec


class Stage(Options):
    """One step of a pipeline: a frozen value whose fields are its recipe keys.

    Subclasses declare the class variables and `apply`, and are named in the entry-point group
    `compress.stages`. `compress.testing.check_stage` shows whether one keeps the contract.

    Attributes
    ----------
    accepts : the formats it takes, each with the format it then produces.
    tasks : the built-in tasks it can work for; None: all of them.
    own_tasks : whether it can work for every task on the contract (`compress.Task`), or else only
        for those that `tasks` names.
    refuses_others : why it can't work for other tasks, in words that a message ends with; empty:
        the names of those that it can work for say enough.
    makes_reference : whether its result becomes the reference (only `train` does).
    trains : whether it trains. If several processes were launched together, all of them apply a
        stage that trains; every other stage is applied by the first process alone.
    """

    accepts: ClassVar[Mapping[Format, Format]]
    tasks: ClassVar[frozenset[str] | None] = None
    own_tasks: ClassVar[bool] = True
    refuses_others: ClassVar[str] = ""
    makes_reference: ClassVar[bool] = False
    trains: ClassVar[bool] = False

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """Return a new artifact; the one given is left as it was.

        Raises
        ------
        StageError : the work can't be done.
        """
        raise TypeError(f"{type(self).__name__} doesn't define 'apply'.")

    def dry_run(self, artifact: Artifact, context: Context) -> Artifact | None:
        """The artifact with its future structure, made without training or reading much data.

        A run asks its stages for it before the first of them trains, so that an impossible step is
        reported before hours of work rather than after them.

        Returns
        -------
        None if the structure can't be made cheaply: later stages make no dry run then.

        Raises
        ------
        StageError : as `apply` would raise.
        """
        return None

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """The stage's problems in a recipe that can be found without torch and without the data.

        Parameters
        ----------
        task, model, data : the recipe's own.

        Returns
        -------
        (dotted key inside the stage, problem) pairs.
        """
        return []

    def check_given(self, given: Format) -> list[tuple[str, str]]:
        """The stage's problems with the format that it would be given, one of `accepts`.

        Returns
        -------
        (dotted key inside the stage, problem) pairs, as of `check`.
        """
        return []

    def warnings(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[str]:
        """Notes for the reader of the plan before the work begins, one line each.

        Raises
        ------
        StageError : the stage can't work on the recipe's model.
        """
        return []

    @property
    def replaces_model(self) -> bool:
        """True if its result is built in another way than its input, so that no count of the
        recipe's model holds for the result."""
        return False

    def input_files(self) -> tuple[Path, ...]:
        """Files and folders that its fields name and whose content decides its result.

        A finished stage is done again if one of them has changed.
        """
        return ()

    def libraries(self) -> tuple[str, ...]:
        """Optional packages whose versions decide its result.

        A finished stage is done again with another version.
        """
        return ()

    def summarize(self) -> str:
        """A few words on the work that it will do, for the recipe check."""
        given = self.model_dump(mode="json", exclude_defaults=True)
        return ", ".join(f"{key}: {value}" for key, value in given.items()) or "defaults"
