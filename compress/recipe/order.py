"""Checks that stages can follow one another, by their declared formats alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from compress.core.artifact import Format
from compress.stages.contract import Stage


class Link(NamedTuple):
    """A stage, the format that it is given, and the format that it makes."""

    given: Format
    made: Format


class Misfit(NamedTuple):
    """The first stage that can't take the format that it would be given."""

    position: int
    sentence: str


def chain(stages: Sequence[tuple[str, type[Stage]]]) -> tuple[list[Link], Misfit | None]:
    """Follow a torch model through the stages.

    Parameters
    ----------
    stages : (registered name, class), in the order in which they run.

    Returns
    -------
    The links up to the first misfit, and the misfit (None if all fit).
    """
    links: list[Link] = []
    current = Format.TORCH
    for index, (use, stage) in enumerate(stages):
        if current not in stage.accepts:
            taken = " or ".join(format_.value for format_ in stage.accepts)
            maker = f"made by stages[{index - 1}] ({stages[index - 1][0]})"
            sentence = (
                f"'{use}' takes {taken} and would be given {current.value} "
                f"{maker if index else '(the model itself)'}."
            )
            reason = f" {current.why_last}" if current.why_last else ""
            return links, Misfit(index, sentence + reason + _advice(stages, index, links))
        links.append(Link(current, stage.accepts[current]))
        current = links[-1].made
    return links, None


def _advice(stages: Sequence[tuple[str, type[Stage]]], index: int, links: Sequence[Link]) -> str:
    """Return where the stage could stand instead, as a sentence; empty if nowhere."""
    for earlier in reversed(range(index)):
        if links[earlier].given in stages[index][1].accepts:
            return f" Put it before stages[{earlier}] ({stages[earlier][0]})."
    return ""
