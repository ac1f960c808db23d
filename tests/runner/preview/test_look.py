"""A few rows of every split, and all stages without training, before hours of work."""

from pathlib import Path

import numpy as np
import pytest

from compress.cli import main
from compress.errors import InputError
from compress.recipe.load import recipe_from_dict
from compress.runner.preview.look import look
from compress.runner.preview.words import preview_lines
from tests.stages.texts import save_tokenizer

RESNET = {"blocks": [1], "width": 8, "in_channels": 1, "num_classes": 10}
DIGITS = {
    "version": 1,
    "name": "digits",
    "model": {"python": "compress.models.resnet:resnet", "arguments": RESNET},
    "task": "image-classification",
    "data": {"sklearn": "digits", "limit": {"train": 200, "validation": 40, "test": 40}},
}
BERT = {
    "model_type": "bert",
    "vocab_size": 420,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 24,
    "num_labels": 4,
}


def seen(**changes):
    return look(recipe_from_dict({**DIGITS, **changes}))


def test_what_is_seen_of_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = seen(stages=[{"use": "train"}, {"use": "prune", "target": {"macs": 0.5}}])
    assert (found.model, found.classes) == ("ResNet", tuple("0123456789"))
    assert [each.split for each in found.splits] == ["train", "validation", "test", "calibration"]
    train = found.splits[0]
    assert train.size == 200
    assert train.inputs == {"pixel_values": "float32 (8, 1, 8, 8)"}
    assert train.outputs == {"logits": "float32 (8, 10)"}
    assert train.labels == {"labels": "0: 1, 1: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1"}
    assert train.lengths is None
    assert list(found.stages) == ["train", "prune"]
    assert found.stages["train"] == found.params
    assert found.stages["prune"] < found.params
    assert list(tmp_path.iterdir()) == [], "nothing is written"
    lines = preview_lines(found)
    assert f"  model    ResNet, {found.params:,} parameters" in lines
    share = found.stages["prune"] / found.params
    assert f"  prune  {found.stages['prune']:,} parameters, {share:.1%} of the model's" in lines


def test_a_stage_that_cannot_do_its_work_is_told_also_if_it_is_the_only_one():
    impossible = {"use": "prune", "target": {"macs": 0.001}, "recovery": None}
    with pytest.raises(InputError, match="stage 'prune', seen before any training: target macs"):
        seen(stages=[impossible, {"use": "export"}])


def test_stages_are_tried_up_to_the_first_that_cannot_be_predicted():
    pruned = {"use": "prune", "target": {"latency": 0.5}}
    found = seen(stages=[{"use": "train"}, pruned, {**pruned, "name": "again"}])
    assert list(found.stages) == ["train"]
    assert "stages, without training" in preview_lines(found)
    found = seen(stages=[{"use": "quantize"}])
    assert "stages, without training" not in preview_lines(found)


def test_lengths_of_texts_and_how_many_are_cut(tmp_path):
    found = look(
        recipe_from_dict(
            {
                **DIGITS,
                "model": {"config": BERT},
                "task": "text-classification",
                "data": {
                    "python": "tests.stages.texts:coloured",
                    "tokenizer": save_tokenizer(tmp_path),
                    "max_length": 9,
                },
                "stages": [{"use": "train"}],
            }
        )
    )
    lengths = found.splits[0].lengths
    assert lengths.texts == 64
    assert lengths.least < lengths.middle <= lengths.most == lengths.limit == 9
    assert 0 < lengths.full < 64
    assert found.splits[0].labels == {"labels": "green: 4, red: 4"}
    said = f"; {lengths.full} at the limit of 9, and mostly cut"
    assert any(line.endswith(said) for line in preview_lines(found))


def test_several_outputs_with_numbers_and_names(tmp_path):
    random = np.random.default_rng(0)
    one, other = random.normal(size=(60, 6)), random.normal(size=(60, 4))
    np.savez(
        tmp_path / "pairs.npz",
        table=one.astype(np.float32),
        extra=other.astype(np.float32),
        kind=np.array(["ant", "bee", "cat"])[one[:, :3].argmax(1)],
        box=np.full((60, 4), 0.5, np.float32),
    )
    roles = {"kind": "classes", "box": "values"}
    found = seen(
        model={"python": "tests.tasks.nets:Pair"},
        task={"name": "tensor-classification", "arguments": {"outputs": roles}},
        data={
            "arrays": str(tmp_path / "pairs.npz"),
            "columns": {"targets": {"kind": "kind", "box": "box"}},
        },
        stages=[{"use": "train"}],
    )
    train = found.splits[0]
    assert train.inputs == {"table": "float32 (8, 6)", "extra": "float32 (8, 4)"}
    assert train.outputs == {"kind": "float32 (8, 3)", "box": "float32 (8, 4)"}
    assert train.labels["box"] == "float32 (8, 4), 0.5 to 0.5"
    assert sum(int(part.rpartition(": ")[2]) for part in train.labels["kind"].split(", ")) == 8


def test_labels_that_are_tokens_are_not_all_listed(tmp_path, monkeypatch):
    monkeypatch.setattr("compress.runner.preview.look._CLASSES", 5)
    found = look(
        recipe_from_dict(
            {
                **DIGITS,
                "model": {"config": {key: x for key, x in BERT.items() if key != "num_labels"}},
                "task": {"name": "fill-mask", "arguments": {"mask_fraction": 0.9}},
                "data": {
                    "python": "tests.stages.texts:coloured",
                    "tokenizer": save_tokenizer(tmp_path),
                    "max_length": 24,
                },
                "stages": [{"use": "train"}],
            }
        )
    )
    words = found.splits[0].labels["labels"]
    assert words.count(": ") == 5
    assert words.endswith(" more")


RECIPE = """\
version: 1
name: digits
model:
  python: compress.models.resnet:resnet
  arguments: {blocks: [1], width: 8, in_channels: 1, num_classes: 10}
task: image-classification
data: {sklearn: digits}
stages:
  - use: train
  - use: export
"""


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("compress.cli.app.silence_libraries", lambda: None)
    Path("recipe.yaml").write_text(RECIPE)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["check", "--data", "recipe.yaml", *arguments])
        out, err = capsys.readouterr()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yaml"]
        return ended.value.code, out, err

    return run


def test_the_command_shows_the_plan_and_what_it_saw(command):
    code, out, err = command()
    assert (code, err) == (0, "")
    plan, _, rest = out.partition("runs code that the recipe names: ")
    assert "  1  train   torch -> torch" in plan
    assert rest.startswith("model.python: compress.models.resnet:resnet\nloaded\n")
    assert "    outputs  logits float32 (8, 10)\n" in rest


def test_the_command_ends_with_2_where_a_run_would(command):
    code, _, err = command("--set", "model.arguments.num_classes=7")
    assert code == 2
    assert err.startswith("error: the model gives scores of shape (2, 7) for 2 samples, but there")
    pruned = "stages.train={use: prune, target: {macs: 0.001}}"
    code, _, err = command("--set", pruned.replace("stages.train", "stages.0"))
    assert code == 2
    assert err.startswith("error: stage 'prune', seen before any training: target macs")


def test_the_command_runs_no_code_with_no_python(command):
    code, out, err = command("--no-python")
    assert (code, out) == (2, "")
    assert "'model.python' names a function" in err
