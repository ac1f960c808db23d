"""Modules measured as ONNX files for targets of pruning."""

import itertools
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.measurement.latency.measure import measure_latency
from compress.models.structure.cut import cut
from compress.models.structure.find import find_groups
from compress.models.structure.groups import cut_units
from compress.pruning.allocation.choose import choose
from compress.pruning.allocation.search import rank
from compress.pruning.cost.model import CostModel, count_params
from compress.pruning.importance.scores import scores
from compress.pruning.options import CutOptions, Target
from compress.stages.prune import meter as metering
from compress.stages.prune.meter import OnnxMeter
from compress.stages.prune.options import LatencyOptions
from compress.training.batches import first_inputs
from tests.stages.digits import TASK, digits, preprocessor


def network():
    """Of as few operators as have widths fine enough to meet a target: it is exported often."""
    widths = (1, 24, 48, 48)
    convolutions = [nn.Conv2d(*pair, 3, padding=1) for pair in itertools.pairwise(widths)]
    layers = [layer for one in convolutions for layer in (one, nn.ReLU())]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))


def subject(tmp_path):
    torch.manual_seed(0)
    module = network().eval()
    artifact = Artifact(
        Format.TORCH,
        module=module,
        preprocessor=preprocessor(),
        labels=tuple("0123456789"),
    )
    context = Context(reference=artifact, task=TASK, data=digits(), directory=tmp_path)
    inputs = first_inputs(digits(), preprocessor(), samples=1)
    groups = find_groups(module, task=TASK, inputs=inputs, units=None).groups
    ranking = rank(groups, scores(module, groups, criterion="magnitude", seed=0), scope="global")
    return artifact, context, inputs, groups, ranking


@pytest.mark.slow
def test_size_is_a_target_and_latency_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(metering, "_SECONDS", 0.1)
    artifact, context, inputs, groups, ranking = subject(tmp_path)
    module = artifact.require_module()
    with OnnxMeter(artifact, context, options=LatencyOptions(batch_size=3)) as meter:
        folder = Path(meter._folder.name)
        choice = choose(
            module,
            ranking,
            CutOptions(target=Target(size=0.6), round_to=1),
            cost=CostModel(module, groups, task=TASK, inputs=inputs),
            meter=meter,
        )
        smaller = cut(module, groups, cut_units(ranking.order, choice.counts))
        assert meter.latency_ratio(smaller, module) > 0
    remains, whole = re.match(r"size: ([\d.]+) of ([\d,]+) bytes", choice.notes[0]).groups()
    assert float(remains) == pytest.approx(0.6, rel=0.02)
    assert int(whole.replace(",", "")) > 4 * 0.9 * count_params(module)
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_latency_target_is_measured_at_the_batch_size_asked_for(tmp_path, monkeypatch):
    artifact, context, inputs, groups, ranking = subject(tmp_path)
    timed = []

    def latency(models, arrays, *, spec, progress):
        timed.extend(arrays)
        found = measure_latency(models, arrays, spec=spec, progress=progress)
        assert {len(x) for x in arrays[3].values()} == {3}
        return found

    monkeypatch.setattr(metering, "_SECONDS", 0.1)
    monkeypatch.setattr(metering, "measure_latency", latency)
    with OnnxMeter(artifact, context, options=LatencyOptions(batch_size=3)) as meter:
        measured = meter.latency_ratio(artifact.require_module(), artifact.require_module())
        # What a target comes to on a machine of any speed and load isn't a test's business.
        monkeypatch.setattr(meter, "latency_ratio", lambda module, original: 0.6)
        choice = choose(
            artifact.require_module(),
            ranking,
            CutOptions(target=Target(latency=0.6), round_to=None),
            cost=CostModel(artifact.require_module(), groups, task=TASK, inputs=inputs),
            meter=meter,
        )
    assert timed == [3]
    assert measured == pytest.approx(1, rel=0.5)
    assert choice.notes[0] == (
        "latency: 0.600 of the original's measured at batch size 3, after 1 round."
    )
