import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path
from typing import ClassVar

import pytest

from compress.cli import main
from compress.cli.silence import silence_libraries
from compress.errors import ModelError, StageError
from compress.report.document import GateResult, Report, read_report, write_report
from compress.runner import pipeline
from compress.runner.folder.marker import mark

RECIPE = """\
version: 1
name: digits
model: {python: "compress.models.resnet:resnet"}
task: image-classification
data: {sklearn: digits}
gates: {speedup: 2}
stages:
  - use: train
  - use: export
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A current folder with a recipe; the command's silence doesn't leave the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("compress.cli.app.silence_libraries", lambda: None)
    Path("recipe.yaml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def command(capsys):
    """Runs the command in this process: (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def runs(monkeypatch):
    """What a pretended run was called with; `result` is what it returns or raises."""

    class Runs:
        called: ClassVar[dict[str, object]] = {}
        result: Report | BaseException = Report(name="digits", status="passed")

    def run(recipe, **given):
        Runs.called = {"recipe": recipe, **given}
        if isinstance(Runs.result, BaseException):
            raise Runs.result
        return Runs.result

    monkeypatch.setattr(pipeline, "run", run)
    return Runs


def gate_failed() -> Report:
    gate = GateResult(name="speedup", limit=2, value=1.5, passed=False)
    return Report(name="digits", status="gate_failed", gates=[gate])


def test_a_recipe_runs_with_its_options(command, runs):
    code, out, err = command(
        "recipe.yaml", "--set", "seed=3", "--set", "gates.speedup=4", "--output", "o",
        "--device", "cpu", "--threads", "2", "--fresh",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert runs.called["recipe"].seed == 3
    assert runs.called["recipe"].gates.speedup == 4
    assert runs.called["output"] == Path("o")
    assert (runs.called["device"], runs.called["threads"], runs.called["fresh"]) == ("cpu", 2, True)
    assert "digits: passed" in out
    assert f"report  {Path('o/report.html')}" in out


def test_the_subcommand_and_options_before_the_recipe_do_the_same(command, runs):
    assert command("run", "recipe.yaml")[0] == 0
    assert command("--set", "seed=5", "recipe.yaml")[0] == 0
    assert runs.called["recipe"].seed == 5
    assert runs.called["device"] == "auto"
    assert runs.called["output"] is None


def test_where_the_bundle_lies(command, runs):
    Path("exports/digits").mkdir(parents=True)
    Path("exports/digits/model.onnx").write_bytes(b"")
    assert f"bundle  {Path('exports/digits/model.onnx')}" in command("recipe.yaml")[1]


def test_a_failed_gate_is_exit_code_1(command, runs):
    runs.result = gate_failed()
    code, out, _ = command("recipe.yaml")
    assert code == 1
    assert "FAILED  speedup 1.50x (at least 2x)" in out


def test_quiet_prints_nothing_but_keeps_the_exit_code(command, runs):
    runs.result = gate_failed()
    assert command("recipe.yaml", "-q") == (1, "", "")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (StageError("the loss is NaN in step 3."), 3, "error: the loss is NaN in step 3.\n"),
        (ModelError("no weights."), 2, "error: no weights.\n"),
        (KeyboardInterrupt(), 130, "Interrupted. Run the same command again to resume.\n"),
    ],
)
def test_how_a_run_ends_badly(command, runs, error, code, line):
    runs.result = error
    assert command("recipe.yaml") == (code, "", line)


def test_debug_shows_the_traceback(command, runs):
    runs.result = ZeroDivisionError("no")
    code, _, err = command("recipe.yaml", "--debug")
    assert code == 3
    assert "Traceback (most recent call last)" in err
    assert "error: This is a fault of compress, not of your recipe: ZeroDivisionError: no." in err


def test_a_fault_of_ours_says_so_and_keeps_a_log(command, runs, folder, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "hf_abcdefgh")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    runs.result = ZeroDivisionError("division\nby hf_abcdefgh")
    (folder / "run").mkdir()
    mark(folder / "run")
    code, out, err = command("recipe.yaml", "--output", "run", "--set", "seed=3")
    (log,) = (folder / "run" / "logs").iterdir()
    assert (code, out) == (3, "")
    assert err == (
        "error: This is a fault of compress, not of your recipe: ZeroDivisionError: division by "
        f"<SOME_TOKEN>. Its log is {log}.\n"
    )
    text = log.read_text()
    assert "Traceback (most recent call last)" in text
    assert "options: --output --set" in text
    assert "torch " in text
    assert "hf_abcdefgh" not in text
    assert "seed=3" not in text

    command("recipe.yaml", "--output", "elsewhere")
    (log,) = folder.glob("compress-fault-*.log")
    assert "ZeroDivisionError" in log.read_text()
    assert not (folder / "elsewhere").exists()


def test_every_problem_of_a_recipe_is_a_line_and_nothing_runs(command, runs):
    Path("recipe.yaml").write_text(RECIPE.replace("name: digits", "nam: digits"))
    code, out, err = command("recipe.yaml", "--set", "stages.train.training.epochs=0")
    assert (code, out, runs.called) == (2, "", {})
    assert [line.split("'")[0] for line in err.splitlines()] == [
        "error: recipe.yaml:1 ",
        "error: recipe.yaml:2 unknown key ",
        "error: --set stages.train.training.epochs=0 stages[0] (train): ",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recipe.yaml", "--device", "tpu"], "error: Invalid value for '--device'"),
        (["recipe.yaml", "--threads", "0"], "error: Invalid value for '--threads'"),
        (["recipe.yaml", "--nothing"], "error: No such option: --nothing"),
        (["run"], "error: Missing argument"),
        (["nothing.yaml"], "error: nothing.yaml: this file can't be read: no such file"),
        (["chekc"], "error: unknown command 'chekc'. Known: bench, check, compare, eval, init, "
                    "report, run, schema, stages, tasks, verify. Did you mean 'check'? (There is "
                    "no recipe file 'chekc' either.)"),
        (["compare", "nowhere"], "error: there is no report at nowhere"),
    ],
)  # fmt: skip
def test_wrong_words_are_exit_code_2(command, arguments, said):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_no_words_show_the_help_but_are_no_success(command):
    code, out, _ = command()
    assert code == 2
    assert "compress recipe.yaml" in out
    assert command("--help")[0] == 0


def test_check_shows_the_plan(command):
    code, out, err = command("check", "recipe.yaml", "--set", "name=other")
    assert (code, err) == (0, "")
    assert f"results  {Path('exports/other')}" in out
    assert "1  train   torch -> torch" in out


def test_check_of_a_wrong_recipe(command):
    assert command("check", "recipe.yaml", "--set", "seed=-1") == (
        2,
        "",
        "error: --set seed=-1 'seed' must be an int in [0, 4294967296). Got -1.\n",
    )


def test_stages_schema_and_version(command):
    code, out, _ = command("stages")
    assert code == 0
    assert "target.macs: a float in (0, 1)" in out
    assert json.loads(command("schema")[1])["title"] == "A compress recipe"
    assert json.loads(command("schema", "--report")[1])["title"] == "Report"
    assert command("--version")[1].startswith("compress ")


def test_compare_prints_both_runs(command, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_report(gate_failed().model_copy(update={"name": name}), tmp_path / name)
    code, out, _ = command("compare", "a", "b/report.json")
    assert code == 0
    assert "a: a gate failed (speedup)" in out
    assert "b: a gate failed (speedup)" in out
    assert read_report("a").name == "a"


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom compress.cli import main\ntry:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'ruamel.yaml', 'rich.table', 'onnx'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: compress" in done.stdout


def test_the_module_runs_and_ends_with_the_code(folder):
    (folder / "recipe.yaml").write_text("stages: [\n")
    done = python("-m", "compress", "recipe.yaml", cwd=folder)
    assert done.returncode == 2
    assert done.stderr == (
        "error: recipe.yaml:2 this isn't YAML: expected the node content, but found "
        "'<stream end>'.\n"
    )


def test_silence_keeps_what_the_user_set(monkeypatch):
    variables = {"TQDM_DISABLE": "0"}
    monkeypatch.setattr("compress.cli.silence.os.environ", variables)
    with warnings.catch_warnings(record=True) as heard:
        silence_libraries()
        warnings.warn("never heard", UserWarning, stacklevel=1)
        listening = logging.getLogger("some.library").isEnabledFor(logging.WARNING)
    logging.disable(logging.NOTSET)
    assert heard == []
    assert listening is False
    assert variables["TQDM_DISABLE"] == "0"
    assert variables["HF_HUB_VERBOSITY"] == "error"


def test_an_interruption_inside_an_exec_still_ends_with_130(folder):
    # As `python -m compress`: only there does CPython look at its flag before it ends.
    Path("interrupted.py").write_text(
        "from compress.runner import pipeline\n"
        "def run(recipe, **options):\n"
        "    exec('raise KeyboardInterrupt')\n"
        "pipeline.run = run\n"
        "from compress.cli import main\n"
        "main(['recipe.yaml'])\n"
    )
    command = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "Interrupted. Run the same command again to resume.\n"
