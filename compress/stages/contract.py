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
    tasks : the tasks it can work for; None where that doesn't matter.
    makes_reference : whether its result becomes the reference (only `train` does).
    trains : whether it trains: of several processes that were launched together all then apply it,
        while every other stage is applied by the first alone.
    """

    accepts: ClassVar[Mapping[Format, Format]]
    tasks: ClassVar[frozenset[str] | None] = None
    makes_reference: ClassVar[bool] = False
    trains: ClassVar[bool] = False

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """A new artifact; the one given is left as it was.

        Raises
        ------
        StageError : where the work can't be done.
        """
        raise TypeError(f"{type(self).__name__} doesn't define 'apply'.")

    def rehearse(self, artifact: Artifact, context: Context) -> Artifact | None:
        """The artifact as its structure will be, without training and without reading much data.

        A run rehearses its stages before the first of them trains, so that what can't be done is
        said before hours of work rather than after them.

        Returns
        -------
        None where that can't be told cheaply: later stages aren't rehearsed then.

        Raises
        ------
        StageError : as `apply` would raise.
        """
        return None

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """What can be seen to be wrong with it in a recipe, without torch and without reading data.

        Parameters
        ----------
        task : the recipe's.
        model, data : the recipe's.

        Returns
        -------
        (dotted key inside the stage, what is wrong with it).
        """
        return []

    def foresee(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[str]:
        """What a reader of the plan should know before the work begins, a line each."""
        return []

    @property
    def replaces_model(self) -> bool:
        """Whether what it makes is built in another way than what it is given: no count of the
        recipe's model holds for it."""
        return False

    def reads(self) -> tuple[Path, ...]:
        """Files and folders that its fields name and whose content decides its result.

        A finished stage is done again where one of them has changed.
        """
        return ()

    def summarize(self) -> str:
        """A few words on what it will do, for the recipe check."""
        given = self.model_dump(mode="json", exclude_defaults=True)
        return ", ".join(f"{key}: {value}" for key, value in given.items()) or "defaults"
