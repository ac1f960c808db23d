"""Stages go through their structures before the first of them trains."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import ClassVar

import pytest

from compress.core.artifact import Artifact, Format
from compress.errors import StageError, TargetError
from compress.runner.dry_run import dry_run
from compress.stages.contract import Stage

TORCH = {Format.TORCH: Format.TORCH}


@dataclass
class Seen:
    names: list[str] = field(default_factory=list)


SEEN = Seen()


class Trains(Stage):
    accepts = TORCH
    trains = True

    def dry_run(self, artifact, context):
        SEEN.names.append("trains")
        return artifact


class Cuts(Stage):
    accepts = TORCH
    fails: bool = False

    def dry_run(self, artifact, context):
        SEEN.names.append("cuts")
        if self.fails:
            raise TargetError("target macs: 0.1 can't be met.")
        return artifact.with_module(None, notes=("cut",))


class Unknown(Stage):
    accepts = TORCH


class Lowered(Stage):
    accepts: ClassVar = {Format.ONNX: Format.ONNX}

    def dry_run(self, artifact, context):
        raise StageError("it was given a torch module")


@pytest.fixture(autouse=True)
def nothing_seen():
    SEEN.names.clear()


def go(*stages, unfinished=None):
    named = [(type(stage).__name__.lower(), stage) for stage in stages]
    places = range(len(stages)) if unfinished is None else unfinished
    dry_run(
        named,
        unfinished=list(places),
        artifact=Artifact(Format.TORCH),
        context=SimpleNamespace(),
    )
    return SEEN.names


def test_what_can_not_be_done_after_a_training_is_told_with_its_class_and_name():
    with pytest.raises(TargetError, match="stage 'cuts', seen before any training: target macs"):
        go(Trains(), Cuts(fails=True))


def test_nothing_is_done_where_no_training_comes_first():
    assert go(Cuts(fails=True), Trains()) == []
    assert go(Cuts(fails=True)) == []
    assert go(Trains(), Unknown()) == []


def test_finished_stages_need_no_dry_run_of_their_own():
    assert go(Trains(), Cuts(fails=True), unfinished=[]) == []
    assert go(Trains(), Cuts(fails=True), unfinished=[1]) == []
    assert go(Cuts(), Trains(), Cuts(), unfinished=[1, 2]) == ["cuts", "trains", "cuts"]


def test_it_ends_at_a_stage_that_can_not_tell():
    assert go(Trains(), Unknown(), Cuts(fails=True)) == ["trains"]


def test_it_ends_where_the_format_changes():
    assert go(Trains(), Cuts(), Lowered()) == ["trains", "cuts"]
