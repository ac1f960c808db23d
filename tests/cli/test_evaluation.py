"""ONNX files measured on a recipe's data, compared with each other, and shown again."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from compress.cli import main
from compress.errors import RecipeError
from compress.recipe.load import evaluation_of
from compress.report.document import read_report
from tests.given_files import digits, save

RECIPE = """\
version: 1
name: digits
model: {python: "compress.models.resnet:resnet"}
task: image-classification
data: {sklearn: digits}
measure: {batch_sizes: [1], rounds: 5, warmup: 1, seconds: 0.01}
gates: {speedup: 2}
stages:
  - use: train
  - use: export
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("compress.cli.app.silence_libraries", lambda: None)
    Path("recipe.yaml").write_text(RECIPE)
    save(digits(), Path("ours.onnx"))
    worse = digits()
    for tensor in worse.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if values.ndim == 2:
            noise = np.random.default_rng(0).normal(size=values.shape)
            changed = (values + noise * 0.4 * values.std()).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    save(worse, Path("a rival.onnx"))
    return tmp_path


@pytest.fixture
def command(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def test_two_files_are_measured_compared_and_shown_again(command):
    for file in ("ours.onnx", "a rival.onnx"):
        code, out, err = command("eval", file, "--recipe", "recipe.yaml")
        assert (code, err) == (0, "")
    ours, rival = Path("exports/digits-ours"), Path("exports/digits-a-rival")
    (row,) = read_report(ours).stages
    assert (row.name, row.vs_reference, row.quality.metric) == ("ours", None, "accuracy")
    assert len(row.recall) == 10
    assert (ours / "stages" / "00-ours" / "answers.safetensors").is_file()
    assert read_report(ours).test_data == read_report(rival).test_data != ""

    files = {"--json": "c.json", "--markdown": "c.md", "--html": "c.html"}
    written = [word for pair in files.items() for word in pair]
    code, out, _ = command("compare", str(ours), str(rival), *written)
    assert code == 0
    assert "careful" not in out
    assert "'a-rival' against the first run's 'ours': accuracy" in out
    assert "worse (McNemar's exact test" in " ".join(out.split())
    assert "model.onnx" in out  # the only key by which the recipes differ
    (cell,) = [row["cells"][1] for row in json.loads(Path("c.json").read_text())["rows"][1:]]
    assert cell["difference"]["verdict"] == "worse"
    assert cell["difference"]["change"] < 0
    assert "worse" in Path("c.md").read_text()
    assert "worse" in Path("c.html").read_text()

    before = (rival / "report.json").read_bytes()
    for name in ("report.md", "report.html"):
        (rival / name).unlink()
    code, out, _ = command("report", str(rival))
    assert code == 0
    assert "digits-a-rival: passed" in out
    assert "a-rival" in (rival / "report.md").read_text()
    assert "a-rival" in (rival / "report.html").read_text()
    assert (rival / "report.json").read_bytes() == before
    assert not list(rival.glob("*.kept-*"))
    alone = Path("copied.json")
    alone.write_bytes(before)
    code, out, _ = command("report", str(alone), "--output", "shown")
    assert code == 0
    assert sorted(path.name for path in Path("shown").iterdir()) == ["report.html", "report.md"]


def test_a_files_recipe_has_the_others_data_and_no_stages_and_gates():
    made = evaluation_of(Path("a rival.onnx"), Path("recipe.yaml"), overrides=["seed=3"])
    assert (made.name, made.first_row, made.seed) == ("digits-a-rival", "a-rival", 3)
    assert made.stages == ()
    assert made.gates.speedup is None
    assert made.data.sklearn == "digits"
    assert made.model.onnx == Path("a rival.onnx")
    assert made.model.preprocessing is None
    named = evaluation_of(
        Path("ours.onnx"), Path("recipe.yaml"), overrides=["model.inputs.images=pixel_values"]
    )
    assert named.model.inputs == {"images": "pixel_values"}


def test_samples_are_made_as_for_the_recipes_own_model(folder):
    own = folder / "own"
    own.mkdir()
    (own / "config.json").write_text('{"model_type": "vit"}')
    (own / "model.safetensors").write_bytes(b"")
    Path("texts.yaml").write_text(
        RECIPE.replace('{python: "compress.models.resnet:resnet"}', f"{{transformers: {own}}}")
    )
    made = evaluation_of(Path("ours.onnx"), Path("texts.yaml"))
    assert made.model.preprocessing == str(own)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.onnx"], "nowhere.onnx"),
        (["recipe.yaml"], "recipe.yaml"),
        (["ours.onnx", "--set", "measure.samples=0"], "measure.samples"),
        (["ours.onnx", "--set", "stages.train.use=train"], "stages"),
    ],
)
def test_what_cannot_be_measured_is_told_in_a_line(command, arguments, said):
    code, _, err = command("eval", *arguments, "--recipe", "recipe.yaml")
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert not Path("exports").exists()


def test_functions_are_refused_on_request():
    Path("mine.py").write_text("def data():\n    raise RuntimeError\n")
    Path("mine.yaml").write_text(RECIPE.replace("{sklearn: digits}", '{python: "mine:data"}'))
    with pytest.raises(RecipeError, match="mine:data"):
        evaluation_of(Path("ours.onnx"), Path("mine.yaml"), python=False)


def test_a_file_that_cannot_be_written_is_told_before_the_work(command):
    code, _, err = command("compare", "nowhere", "--html", "no/folder/c.html")
    assert code == 2
    assert "--html" in err
