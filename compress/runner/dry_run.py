"""Rehearses stages before the first of them trains, to report an impossible stage at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from compress.errors import StageError
from compress.stages.contract import Stage

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context


def dry_run(
    stages: Sequence[tuple[str, Stage]],
    *,
    unfinished: Sequence[int],
    artifact: Artifact,
    context: Context,
) -> None:
    """Go through the structures that the stages will make, as far as these can be predicted.

    This does nothing if no stage that trains comes before another one: a single stage reports its
    own problems before it trains.

    Parameters
    ----------
    stages : all stages, with their names.
    unfinished : positions of the stages that are still to be done, in rising order.
    artifact : the artifact that the first stage is given.

    Raises
    ------
    StageError : a stage can't be done. The error has the class that the stage raised, and names
        the stage.
    """
    training = next((place for place in unfinished if stages[place][1].trains), None)
    if training is None:
        return
    later = [place for place in unfinished if place > training and _has_dry_run(stages[place][1])]
    for _ in rehearsed(
        stages[: later[-1] + 1] if later else (), artifact=artifact, context=context
    ):
        pass


def rehearsed(
    stages: Sequence[tuple[str, Stage]], *, artifact: Artifact, context: Context
) -> Iterator[tuple[str, Artifact]]:
    """Yield each stage's name and the structure that it will make, while these can be predicted.

    Raises
    ------
    StageError : see `dry_run`.
    """
    for name, stage in stages:
        if artifact.format not in stage.accepts:
            return
        try:
            made = stage.dry_run(artifact, context)
        except StageError as error:
            raise type(error)(f"stage {name!r}, seen before any training: {error}") from error
        if made is None:
            return
        artifact = made
        yield name, artifact


def _has_dry_run(stage: Stage) -> bool:
    return type(stage).dry_run is not Stage.dry_run
