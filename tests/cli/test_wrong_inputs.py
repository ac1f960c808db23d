"""Whatever the recipe names wrongly is one clear line, and leaves nothing behind."""

import csv
from pathlib import Path

import pytest

from compress.cli import main
from tests.models.bert_folder import save_bert

RECIPE = """\
version: 1
name: wrong
model: {transformers: model}
task: text-classification
data:
  huggingface: csv
  files: {train: train.csv, test: test.csv}
  max_length: 16
stages:
  - use: quantize
  - use: export
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("compress.cli.app.silence_libraries", lambda: None)
    (tmp_path / "model").mkdir()
    for file in model.iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    write("train.csv", [("good", "yes"), ("bad", "no")] * 20)
    write("test.csv", [("good", "yes"), ("bad", "no")] * 4)
    return tmp_path


def write(name: str, rows: list[tuple[str, str]]) -> None:
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that the command says before it ends with 2, having written nothing."""
    with pytest.raises(SystemExit) as ended:
        main(["recipe.yaml", *arguments])
    said = capsys.readouterr()
    assert ended.value.code == 2, said.err
    assert "Traceback" not in said.err
    assert not Path("exports").exists()
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_missing_data_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("test.csv").unlink()
    line = failure(capsys)
    assert line.startswith("error: recipe.yaml:7 ")
    assert "test.csv" in line


def test_unknown_metric(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, "--set", "measure.metric=acuracy")
    assert line.startswith("error: --set measure.metric=acuracy")
    assert "Did you mean 'accuracy'?" in line


def test_empty_split(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("test.csv", [])
    line = failure(capsys)
    assert "test" in line
    assert "empty" in line or "no rows" in line


def test_model_folder_without_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model/model.safetensors").unlink()
    line = failure(capsys)
    assert line.startswith("error: recipe.yaml:3 ")
    assert "model.safetensors" in line


def test_label_that_the_model_does_not_know(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("train.csv", [("good", "yes")] * 11 + [("bad", "perhaps")] + [("bad", "no")] * 20)
    line = failure(capsys)
    assert "perhaps" in line
    assert "train" in line
    assert "11" in line
    assert "no, yes" in line


@pytest.mark.parametrize("options", [[], ["--fresh"]])
def test_a_foreign_output_folder_is_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    (Path("model") / "stages" / "05-lighting").mkdir(parents=True)
    (Path("model") / "stages" / "05-lighting" / "scene").write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in Path("model").rglob("*")}
    line = failure(capsys, "--output", "model", *options)
    assert "isn't empty" in line
    assert {path: path.stat().st_mtime_ns for path in Path("model").rglob("*")} == before


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("recipe.yaml", "recipe.yaml isn't a folder"),
        ("recipe.yaml/x", "recipe.yaml/x can't be made"),
        ("/proc/x", "/proc/x can't be "),
        ("x" * 5000, "File name too long"),
        ("nowhere", "nowhere is a link that leads nowhere"),
    ],
)
def test_an_output_that_can_be_no_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], output: str, said: str
) -> None:
    Path("nowhere").symlink_to("gone")
    line = failure(capsys, "--output", output)
    assert said in line
    assert len(line) < 1200
