"""Checks that stages can follow one another, by their declared formats alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from compress.core.artifact import Format
from compress.errors import ModelError
from compress.models.onnx_file.problems import is_quantized
from compress.models.spec import ModelSpec
from compress.onnx_graph.header import read_header
from compress.stages.contract import Stage


class Link(NamedTuple):
    """A stage, the format that it is given, and the format that it makes."""

    given: Format
    made: Format


class Misfit(NamedTuple):
    """The first stage that can't take the format that it would be given."""

    position: int
    sentence: str


def first_format(model: ModelSpec | None) -> Format:
    """Return the format of a recipe's model; torch too if the model is wrong."""
    if model is None or model.onnx is None:
        return Format.TORCH
    try:
        quantized = is_quantized(read_header(model.onnx))
    except ModelError:
        return Format.ONNX
    return Format.ONNX_INT8 if quantized else Format.ONNX


def chain(
    stages: Sequence[tuple[str, type[Stage]]], first: Format = Format.TORCH
) -> tuple[list[Link], Misfit | None]:
    """Follow a model through the stages.

    Parameters
    ----------
    stages : (registered name, class), in the order in which they run.
    first : the model's format.

    Returns
    -------
    The links up to the first misfit, and the misfit (None if all fit).
    """
    links: list[Link] = []
    current = first
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


def misfits_in(
    stages: Sequence[tuple[str, type[Stage]]], first: Format
) -> Iterator[tuple[int, str]]:
    """Yield the place and the problem of stages that can't take what they would be given.

    Of a torch model it is the first one. Where the model is an ONNX file, it is every stage that
    needs a module, and then the first of the others.

    Parameters
    ----------
    stages, first : see `chain`.
    """
    fitting = list(enumerate(stages))
    if first.is_onnx:
        for index, (use, stage) in enumerate(stages):
            if not any(format_.is_onnx for format_ in stage.accepts):
                yield index, f"'{use}' works on a PyTorch module, and 'model' is an ONNX file."
                fitting.remove((index, (use, stage)))
    _, misfit = chain([pair for _, pair in fitting], first)
    if misfit is not None:
        yield fitting[misfit.position][0], misfit.sentence


def _advice(stages: Sequence[tuple[str, type[Stage]]], index: int, links: Sequence[Link]) -> str:
    """Return where the stage could stand instead, as a sentence; empty if nowhere."""
    for earlier in reversed(range(index)):
        if links[earlier].given in stages[index][1].accepts:
            return f" Put it before stages[{earlier}] ({stages[earlier][0]})."
    return ""
