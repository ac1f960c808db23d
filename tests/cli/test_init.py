"""A first recipe for a model and data of many kinds: what is guessed, asked for, and runs."""

import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

import compress
from compress.cli import main
from compress.recipe.load import load_recipe
from compress.runner.preview.look import look
from tests import given_files
from tests.cli import starts

MEASURE = ("measure.rounds=5", "measure.warmup=1", "measure.seconds=0.01", "measure.samples=40")
TRIALS = "stages.quantize.evaluation={samples: 32, rounds: 5, seconds: 0.01, batch_sizes: [1]}"
DYNAMIC = ("stages.quantize.method=dynamic", TRIALS)
QUICK = ("gates={}", *MEASURE)


@pytest.fixture
def init(tmp_path, monkeypatch, capsys):
    """Runs `compress init` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("compress.cli.app.silence_libraries", lambda: None)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()  # what saving a model says
        with pytest.raises(SystemExit) as ended:
            main(["init", *map(str, arguments)])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def drafted(init, *arguments: object):
    """The recipe that is written, which a check takes, and its comments in one line each."""
    code, out, err = init(*arguments)
    assert (code, err) == (0, "")
    assert out.startswith("wrote recipe.yaml")
    text = Path("recipe.yaml").read_text()
    assert max(map(len, text.splitlines())) <= 100
    comments = " ".join(line.strip(" #") for line in text.splitlines() if line.strip()[:1] == "#")
    return load_recipe("recipe.yaml"), comments


def ran(*overrides: str) -> compress.Report:
    report = compress.run("recipe.yaml", overrides=[*QUICK, *overrides], threads=1)
    assert report.status == "passed"
    assert (Path("exports") / report.name / "infer.py").is_file()
    return report


def uses(recipe: compress.Recipe) -> list[str]:
    return [step.use for step in recipe.stages]


@pytest.mark.slow
def test_a_bert_and_a_table_of_texts(init, tmp_path):
    names = {"id2label": {0: "red", 1: "green", 2: "blue", 3: "yellow"}}
    names["label2id"] = {name: at for at, name in names["id2label"].items()}
    starts.bert(tmp_path / "bert", "BertForSequenceClassification", **names)
    starts.table(tmp_path / "things.csv", text="said", label="colour")
    recipe, comments = drafted(init, "bert", "--data", "things.csv")
    assert (recipe.name, recipe.task) == ("bert", "text-classification")
    assert (recipe.data.columns.text, recipe.data.columns.label) == ("said", "colour")
    assert recipe.data.max_length == 16
    assert uses(recipe) == ["quantize", "export"]
    assert recipe.stages[0].stage.method == "auto"
    assert recipe.gates.accuracy_drop == 0.02
    assert "Chosen because the weights were saved from BertForSequenceClassification." in comments
    assert "4 classes in the first rows: blue, green, red, yellow." in comments
    assert "as the model's tokenizer counts" in comments
    assert "train has 96 rows." in comments
    report = ran(*DYNAMIC)
    assert report.stages[0].size_bytes > report.stages[-1].size_bytes


@pytest.mark.slow
def test_a_body_gets_a_head_with_the_classes_of_the_data(init, tmp_path):
    starts.bert(tmp_path / "bert", "BertModel")
    starts.table(tmp_path / "things.csv")
    recipe, comments = drafted(init, "bert", "--data", "things.csv")
    assert recipe.task == "text-classification"
    assert uses(recipe) == ["train", "quantize", "export"]
    assert not recipe.model.arguments
    assert "the head for text-classification, with the data's classes, is new" in comments
    report = ran("stages=[{use: train, training: {epochs: 1}}, {use: export}]")
    labels = (tmp_path / "exports/bert/config.json").read_text()
    assert '"blue"' in labels
    assert '"yellow"' in labels
    assert any("4 classes: blue, green, red, yellow" in note for note in report.stages[0].notes)


@pytest.mark.slow
def test_a_vit_and_a_folder_of_images_of_other_classes(init, tmp_path):
    starts.vit(tmp_path / "vit")
    starts.pictures(tmp_path / "pictures")
    recipe, comments = drafted(init, "vit", "--data", "pictures")
    assert recipe.task == "image-classification"
    assert recipe.model.arguments == {"num_labels": 3}
    assert uses(recipe) == ["train", "quantize", "export"]
    assert "The model's head is for 2 classes (cat, dog)" in comments
    assert "3 classes in the first rows: dark, light, red." in comments
    report = ran(
        *DYNAMIC, "stages.train.training={epochs: 4, batch_size: 8, learning_rate: 5.0e-3}"
    )
    assert report.stages[1].quality.value > 0.5


@pytest.mark.slow
def test_a_decoder_and_lines_of_text(init, tmp_path):
    starts.llama(tmp_path / "llama")
    starts.lines(tmp_path / "texts")
    recipe, comments = drafted(init, "llama", "--data", "texts", "--goal", "3x")
    assert recipe.task == "text-generation"
    assert set(recipe.data.files) == {"train", "test"}
    assert recipe.data.max_length == 16
    assert recipe.gates.perplexity_ratio == 1.1
    assert recipe.gates.size_ratio == 3
    assert uses(recipe) == ["quantize", "export"]
    assert "texts are cut into blocks; train has about" in comments.lower()
    assert ran(*DYNAMIC).stages[-1].quality.metric == "perplexity"


def test_a_module_of_ones_own_and_arrays(init, tmp_path):
    starts.prices(tmp_path / "prices.npz")
    recipe, comments = drafted(
        init, "tests.tasks.nets:Table", "--data", "prices.npz", "--set", "data.columns.label=price"
    )
    assert (recipe.name, recipe.task) == ("Table", "tensor-regression")
    assert recipe.data.columns.label == "price"
    assert uses(recipe) == ["train", "quantize", "export"]
    assert "The metric is r2." in comments
    assert "with weights in a file add weights: FILE.safetensors" in comments
    report = ran("stages.quantize.method=static", TRIALS, "stages.train.training.epochs=2")
    assert report.stages[0].quality.metric == "r2"


@pytest.mark.slow
def test_a_network_of_ones_own_and_digits(init):
    recipe, comments = drafted(
        init, "compress.models.resnet:resnet", "--data", "digits", "--goal", "6x",
        "--set", "model.arguments.blocks=[1]", "--set", "model.arguments.width=16",
    )  # fmt: skip
    assert recipe.task == "image-classification"
    assert recipe.model.arguments == {"blocks": [1], "width": 16}  # 10 classes by default
    assert uses(recipe) == ["train", "prune", "quantize", "export"]
    assert recipe.stages[1].stage.target.macs == 0.5
    assert recipe.gates.size_ratio == 6
    assert "About 7.2 times smaller, as estimated before the run." in comments
    report = ran(
        "data.limit={train: 300}",
        "stages.train.training.epochs=2",
        "stages.prune.recovery.training.epochs=1",
        "stages.quantize.method=static",
        TRIALS,
    )
    assert report.stages[2].macs < 0.55 * report.stages[1].macs


@pytest.mark.slow
def test_words_with_tags_in_json(init, tmp_path):
    names = {"id2label": dict(enumerate(starts.TAGS))}
    names["label2id"] = {name: at for at, name in names["id2label"].items()}
    starts.bert(tmp_path / "tagger", "BertForTokenClassification", **names)
    starts.tagged(tmp_path / "tags.json")
    recipe, comments = drafted(init, "tagger", "--data", "tags.json")
    assert recipe.task == "token-classification"
    assert recipe.data.columns.label == "ner_tags"
    assert "By its name." in comments
    assert uses(recipe) == ["quantize", "export"]
    assert ran(*DYNAMIC).stages[-1].quality.metric == "accuracy"


def test_an_onnx_file_and_digits(init, tmp_path):
    onnx.save(given_files.digits(), tmp_path / "given.onnx")
    recipe, comments = drafted(init, "given.onnx", "--data", "digits", "--goal", "9x")
    assert recipe.model.onnx == Path("given.onnx")
    assert recipe.task == "image-classification"
    assert uses(recipe) == ["quantize", "export"]
    assert "That is less than the goal" in comments
    seen = look(load_recipe("recipe.yaml"))
    assert seen.model == "model.onnx"
    assert seen.splits[0].outputs == {"logits": "float32 (8, 10)"}
    report = ran("stages.quantize.method=static", TRIALS, "data.limit={train: 200}")
    assert report.stages[0].size_bytes > 2 * report.stages[-1].size_bytes


def test_a_file_is_written_over_only_when_forced(init, tmp_path):
    Path("recipe.yaml").write_text("mine")
    command = ("compress.models.resnet:resnet", "--data", "digits", "--set",
               "model.arguments={blocks: [1], width: 8}")  # fmt: skip
    code, out, err = init(*command)
    assert (code, out) == (2, "")
    assert err == "error: recipe.yaml is there already: --force writes over it.\n"
    assert Path("recipe.yaml").read_text() == "mine"
    assert init(*command, "-o", "other.yaml")[0] == 0
    assert init(*command, "--force")[0] == 0
    assert load_recipe("recipe.yaml").hash == load_recipe("other.yaml").hash


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["nowhere"], "'nowhere' is no model: name a folder with config.json and weights, an ON"),
        (["own:needy", "--data", "digits"],
         "own:needy needs arguments: depth. Say each with --set model.arguments.depth=VALUE."),
        (["tests.tasks.nets:Table"], "the task isn't clear from the model: say it with --task, one "
                                     "of image-classification, text-classification, "),
        (["tests.tasks.nets:Table", "--data", "nothing.csv"],
         "there is no data 'nothing.csv': name a CSV, JSON, parquet, arrow or .npz file"),
        (["tests.tasks.nets:Table", "--data", "empty"], "'empty' holds no data: name a CSV, JSON"),
        (["tests.tasks.nets:Table", "--data", "both"], "'both' holds files of several formats: "
                                                       "test.json, train.csv. Name one."),
        (["tests.tasks.nets:Table", "--data", "two"],
         "'two' has no file of a split 'train': a.csv, b.csv. Name the file to train on"),
        (["tests.tasks.nets:Table", "--task", "tensor-regression"],
         "tensor-regression learns from data: say which with --data: a CSV, JSON"),
        (["tests.tasks.nets:Table", "--task", "tensor-regresion"],
         "unknown task 'tensor-regresion'. Known: "),
        (["tests.tasks.nets:Table", "--data", "plain.csv"],
         "the task isn't clear from tests.tasks.nets:Table and plain.csv: say it with --task, one "
         "of tensor-classification, tensor-regression. "),
        (["tests.tasks.nets:Table", "--data", "plain.csv", "--task", "tensor-regression"],
         "which column of 'plain.csv' holds the labels? Say it with --set data.columns.label=NAME, "
         "one of a, b, or null if there are none."),
        (["tests.tasks.nets:Table", "--data", "plain.csv", "--set", "data.columns.label=c",
          "--task", "tensor-regression"],
         "data.columns.label: 'plain.csv' has no column 'c'. It has: a, b."),
        (["tests.tasks.nets:Table", "--data", "digits", "--goal", "small"],
         "'--goal' must be how many times smaller, such as 4x. Got 'small'."),
        (["tests.tasks.nets:Table", "--data", "digits", "--goal", "1x"],
         "'--goal' must be how many times smaller, such as 4x. Got '1x'."),
    ],
)  # fmt: skip
def test_what_can_not_be_decided_is_asked_for_in_one_sentence(init, tmp_path, arguments, asked):
    for folder in ("empty", "both", "two"):
        (tmp_path / folder).mkdir()
    (tmp_path / "own.py").write_text("def needy(depth, num_classes=2): ...\n")
    (tmp_path / "both/train.csv").write_text("a\n1.5\n")
    (tmp_path / "both/test.json").write_text("[]")
    for file in ("two/a.csv", "two/b.csv", "plain.csv"):
        (tmp_path / file).write_text("a,b\n1.5,2.5\n0.25,1.5\n")
    code, out, err = init(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {asked}")
    assert err.count("\n") == 1
    assert not (tmp_path / "recipe.yaml").exists()


def test_nothing_heavy_is_imported_and_no_code_of_the_model_runs(init, tmp_path):
    (tmp_path / "own.py").write_text(
        "raise SystemExit('imported')\ndef net(outputs=3, *, features): ...\n"
    )
    starts.prices(tmp_path / "prices.npz")
    script = (
        "import sys\nfrom compress.cli import main\ntry:\n"
        "    main(['init', 'own:net', '--data', 'prices.npz',\n"
        "          '--set', 'data.columns.label=price'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "print(sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "[]"
    recipe = load_recipe(tmp_path / "recipe.yaml") if (tmp_path / "recipe.yaml").exists() else None
    assert recipe is not None
    assert recipe.model.arguments == {"features": 6}


def test_help_names_every_way(init):
    code, out, _ = init("--help")
    assert code == 0
    page = Path(__file__).parents[2] / "docs" / "guided-start.md"
    named = re.findall(r"^\| `(-[\w-]+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) == {"--data", "--task", "--goal", "--set", "-o", "--force"}
    for option in named:
        assert re.search(rf"{option}\b", out)
