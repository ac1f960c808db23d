"""What people write from other programs is answered with the key that was meant."""

import pytest

PRUNE = ("    target: {macs: 0.5}\n", "")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            "ratio: 0.25",
            "Write 'target: {macs: 0.75}' for the fraction of the multiply-accumulates that "
            "remains, or 'ratios: {\"*\": 0.25}' for the fraction of each group's units that goes.",
        ),
        ("sparsity: high", "Write 'target: {macs: 0.5}' for the fraction of the multiply-accumu"),
        ("macs: 0.5", "Did you mean 'target.macs'?"),
        ("lr: 0.1", "'recovery.training.learning_rate'"),
        ("targt: {macs: 0.5}", "Did you mean 'target'?"),
    ],
)
def test_an_unknown_key_of_prune(problems, written, told):
    found = problems(replace=("target: {macs: 0.5}", written))
    assert any(f"unknown key {written.partition(':')[0]!r}." in line for line in found)
    assert any(told in line for line in found)
    assert not any("Did you mean 'ratios'" in line for line in found)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("training: {lr: 0.1}", "in 'training': unknown key 'lr'."),
        ("training: {lr: 0.1}", "Did you mean 'learning_rate'?"),
        ("lr: 0.1", "Did you mean 'training.learning_rate'?"),
        ("num_epochs: 3", "Did you mean 'training.epochs'?"),
    ],
)
def test_abbreviations_of_a_training(problems, written, told):
    [found] = problems(replace=("training: {epochs: 2}", written))
    assert told in found


def test_the_temperature(problems):
    text = "version: 1\nname: a\nmodel: {python: 'compress.models.resnet:resnet'}\n"
    text += "task: image-classification\ndata: {sklearn: digits}\nstages:\n"
    text += "  - use: distill\n    losses: {response: {T: 2}}\n"
    [found] = problems(text)
    assert found.endswith("Did you mean 'temperature'?")


def test_a_key_of_the_data_that_stands_deeper(problems):
    [found] = problems(replace=("data: {sklearn: digits}", "data: {sklearn: digits, label: y}"))
    assert found.endswith("Did you mean 'columns.label'?")


@pytest.mark.parametrize(("written", "fraction"), [("75", "0.75"), ("12.5", "0.125"), ("100", "1")])
def test_a_percentage_is_told_as_a_fraction(problems, written, fraction):
    [found] = problems(replace=("macs: 0.5", f"macs: {written}"))
    assert found.endswith(f"Got {written}. It is a fraction: {written} % is {fraction}.")


@pytest.mark.parametrize("written", ["1.5", "2", "-30", "true", "1000"])
def test_what_is_no_percentage_is_told_without(problems, written):
    [found] = problems(replace=("macs: 0.5", f"macs: {written}"))
    assert "%" not in found


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("audio-classification", None),
        ("object-detection", None),
        ("image-clasification", "image-classification"),
        ("token_classification", "token-classification"),
        ("textclassification", "text-classification"),
    ],
)
def test_a_task_of_another_kind_is_not_taken_for_a_mistyped_one(problems, written, meant):
    [found] = problems(replace=("image-classification", written))
    assert f"unknown task {written!r}. Known: " in found
    assert found.endswith(f"Did you mean {meant!r}?") if meant else "Did you mean" not in found
