"""Stages are rehearsed before the first of them trains: what is impossible is told at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.errors import StageError
from compress.stages.contract import Stage

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context


def rehearse(
    stages: Sequence[tuple[str, Stage]],
    *,
    unfinished: Sequence[int],
    artifact: Artifact,
    context: Context,
) -> None:
    """Go through the structures that the stages will make, as far as these can be told.

    Nothing is done where no stage that trains comes before another one: what that can't do it will
    say itself, before it trains.

    Parameters
    ----------
    stages : all of them, with their names.
    unfinished : places of those that are still to be done, rising.
    artifact : what the first stage is given.

    Raises
    ------
    StageError : a stage can't be done; its name is said. Of the class that the stage raised.
    """
    training = next((place for place in unfinished if stages[place][1].trains), None)
    if training is None:
        return
    later = [place for place in unfinished if place > training and _rehearses(stages[place][1])]
    for name, stage in stages[: later[-1] + 1] if later else ():
        if artifact.format not in stage.accepts:
            return
        try:
            made = stage.rehearse(artifact, context)
        except StageError as error:
            raise type(error)(f"stage {name!r}, seen before any training: {error}") from error
        if made is None:
            return
        artifact = made


def _rehearses(stage: Stage) -> bool:
    return type(stage).rehearse is not Stage.rehearse
