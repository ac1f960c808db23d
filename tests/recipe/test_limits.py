"""What a recipe check says of limits on figures, before any work."""

import pytest

from compress.recipe.load import load_recipe
from compress.recipe.plan import describe


def limits(text):
    return ("stages:\n  - use: train", f"gates: {{limits: [{text}]}}\nstages:\n  - use: train")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{figure: qualty, at_least: 1}", "unknown figure 'qualty'. Known: "),
        ("{figure: quality, at_least: 1, at_most: 2}", "Got at_least and at_most."),
        ("{figure: quality}", "exactly one of at_least, at_most must be given. Got none."),
        ("{figure: params, at_most: 1, confident: true}", "'params' has none."),
        ("{figure: quality, at_least: 1, then: roll_back}", "needs a 'stage'"),
        ("{figure: quality, at_least: 1, then: back}", "one of 'stop', 'roll_back', 'warn'"),
        ("{figure: quality, at_least: 1, stage: prun}", "Did you mean 'prune'?"),
        ("{figure: speedup.7, at_least: 1}", "that is measured: 1, 32. Got '7'."),
        (
            "{figure: runtimes.openvino.agreement, at_least: 1}",
            "of a runtime that is measured: onnxruntime. Got 'openvino'.",
        ),
        (
            "{figure: generation.decoding.tokens_per_second, at_least: 1}",
            "only for tasks that generate text",
        ),
        (
            "{figure: quality, at_least: 1, stage: train, then: roll_back}",
            "'train' can't be rolled back: its model is the reference of all that follows.",
        ),
        (
            "{figure: quality, at_least: 1, stage: export, then: roll_back}",
            "'export' can't be rolled back: it changes no model. Use 'stop'.",
        ),
    ],
)
def test_a_limit_that_cannot_be_judged_is_told(problems, text, said):
    [problem] = problems(replace=limits(text))
    assert problem.startswith("r.yaml:6 ")
    assert "gates.limits[0]" in problem
    assert said in problem


def test_a_stage_that_others_need_stays(problems):
    text = limits("{figure: size_bytes, at_most: 1, stage: quantize, then: roll_back}")
    assert problems(replace=text) == []
    needed = (
        "version: 1\nname: a\nmodel: {python: 'compress.models.resnet:resnet'}\n"
        "task: image-classification\ndata: {sklearn: digits}\n"
        "gates: {limits: [{figure: params, at_most: 1, stage: low_bit, then: roll_back}]}\n"
        "stages:\n  - use: low_bit\n"
    )
    assert problems(needed) == []


def test_the_plan_names_each_limit(good, problems):
    text = "{figure: quality, at_least: 0.8, stage: prune, then: roll_back, confident: true}"
    assert problems(replace=limits(text)) == []
    [line] = [line for line in describe(load_recipe(good)) if line.startswith("  gates")]
    assert line.endswith("quality.value of prune >= 0.8 with 95 % confidence (else roll back)")
