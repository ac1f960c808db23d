"""What happens to a candidate that may be slower than the float model at a batch size."""

from dataclasses import replace
from pathlib import Path

import pytest

from compress.graph_variants.variants import PLAIN, GraphVariant
from compress.measurement.results import Evaluation, Latency, Quality, Speedup
from compress.quantization.evaluation import Evaluator
from compress.quantization.integers import Integers
from compress.stages.quantize.candidates import CandidateSpec
from compress.stages.quantize.doubts import chosen, settled
from compress.stages.quantize.stage import Quantize

VARIANT = GraphVariant(PLAIN, Path("float.onnx"), True, ())
STORED = CandidateSpec("storage-8", VARIANT, Integers("uint8", "int8"))
STATIC = CandidateSpec("static", VARIANT, Integers("uint8", "int8"))
MIXED = replace(STATIC, kept=("first",))


def evaluation(spec, *speeds, width=0.01, fits=True):
    return Evaluation(
        name=spec.name,
        quality=Quality("accuracy", 0.9, (0.8, 1.0), 180),
        loss=0.0,
        fits=fits,
        chosen=False,
        latency_ms={"1": Latency(1.0, 1.0)},
        speedup={
            load: Speedup(speed, (speed - width, speed + width))
            for load, speed in zip(("1", "32"), speeds, strict=True)
        },
        size_bytes=100,
    )


@pytest.fixture
def judge():
    """A function from second speeds by spec to one that measures, and keeps what it was asked."""

    def make(**speeds):
        named = {"stored": STORED, "static": STATIC, "mixed": MIXED}
        given = {named[name]: of for name, of in speeds.items()}

        def judge(specs):
            judge.asked += specs
            return [evaluation(spec, *given[spec]) for spec in specs]

        judge.asked = []
        return judge

    return make


def nothing(spec):
    return []


def test_what_is_surely_faster_is_not_measured_again(judge):
    measure = judge()
    first = {STORED: evaluation(STORED, 1.0, 1.0), STATIC: evaluation(STATIC, 1.02, 1.3)}
    assert settled(first, judge=measure, instead=nothing) == first
    assert measure.asked == []


def test_a_doubt_that_a_second_measurement_does_not_share_passes(judge):
    measure = judge(static=(1.01, 1.25))
    first = {STORED: evaluation(STORED, 1.0, 1.0), STATIC: evaluation(STATIC, 0.98, 1.3)}
    found = settled(first, judge=measure, instead=nothing)
    assert chosen(found) == STATIC
    assert measure.asked == [STATIC]
    assert found[STATIC].slower_at == {}
    assert found[STATIC].notes == ("measured again: 1.010x at batch 1",)


@pytest.mark.parametrize("second", [0.98, 0.90])
def test_what_two_measurements_find_slower_is_passed_over(judge, second):
    measure = judge(static=(second, 1.25))
    first = {STORED: evaluation(STORED, 1.0, 1.0), STATIC: evaluation(STATIC, 0.98, 1.3)}
    found = settled(first, judge=measure, instead=nothing)
    assert chosen(found) == STORED
    assert found[STATIC].slow_batches == {"1": 0.98}


def test_others_take_its_place_and_a_part_in_float_wins(judge):
    measure = judge(static=(0.98, 1.25), mixed=(1.0, 1.2), stored=(1.0, 1.0))
    first = {STATIC: evaluation(STATIC, 0.98, 1.3)}
    found = settled(first, judge=measure, instead=lambda spec: [MIXED, STORED])
    assert measure.asked == [STATIC, MIXED, STORED]
    assert chosen(found) == MIXED


def test_others_that_are_slower_too_give_way_to_storage(judge):
    measure = judge(static=(0.98, 1.25), mixed=(0.97, 1.2), stored=(1.0, 1.0))
    first = {STATIC: evaluation(STATIC, 0.98, 1.3)}
    found = settled(first, judge=measure, instead=lambda spec: [MIXED, STORED])
    assert measure.asked == [STATIC, MIXED, STORED, MIXED]
    assert chosen(found) == STORED


def test_the_fastest_stays_where_all_are_slower(judge):
    measure = judge(static=(0.9, 1.25))
    first = {STATIC: evaluation(STATIC, 0.9, 1.3)}
    found = settled(first, judge=measure, instead=nothing)
    assert chosen(found) == STATIC
    assert measure.asked == []
    assert settled(
        {STATIC: evaluation(STATIC, 2.0, 2.0, fits=False)}, judge=measure, instead=nothing
    )


def test_auto_measures_parts_in_float_and_storage_in_place_of_what_is_slower(
    untrained, tmp_path, set_paces, monkeypatch
):
    set_paces(static=2.0)  # so that storage is dropped before anything is measured to the end
    judge = Evaluator.judge

    def slower(self, candidates):
        whole, *found = judge(self, candidates)
        speeds = [0.98 if each.name.startswith("static") else 1.0 for each in found]
        return [
            whole,
            *(
                replace(each, speedup={"1": Speedup(speed, (speed - 0.01, speed + 0.01))})
                for each, speed in zip(found, speeds, strict=True)
            ),
        ]

    monkeypatch.setattr(Evaluator, "judge", slower)
    artifact, context = untrained
    stage = Quantize.model_validate(
        {
            "evaluation": {"samples": 32, "rounds": 5, "seconds": 0.01, "batch_sizes": [1]},
            "calibration": {"samples": 16, "method": "minmax"},
            "improve": [],
            "operators": ["Conv", "Relu", "MaxPool", "Gemm"],
            "target_cpu": "x86-vnni",
            "budget": 0.99,
        }
    )
    made = stage.apply(artifact, replace(context, directory=tmp_path))
    assert "weights stored in 8 bits, plain" in made.notes
    left = (tmp_path / "candidates.json").read_text(encoding="utf-8")
    assert "2 nodes in float" in left  # the convolution and its ReLU
    assert "measured again: 0.980x at batch 1" in left
