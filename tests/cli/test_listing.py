"""What `compress stages` and `compress tasks` say of what is installed."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from compress.cli import main
from compress.stages.registry import stage_names
from compress.tasks import registry
from compress.tasks.registry import task_names

THIRD_PARTY = Path(__file__).parents[1] / "thirdparty"


@pytest.fixture
def command(capsys, monkeypatch):
    monkeypatch.setattr("compress.cli.app.silence_libraries", lambda: None)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def beginnings(lines: str) -> list[str]:
    return [line.partition(":")[0] for line in lines.splitlines() if line[:1] not in ("", " ")]


def test_one_stage_is_shown_alone(command):
    code, every, _ = command("stages")
    assert code == 0
    assert beginnings(every) == list(stage_names())
    code, one, _ = command("stages", "prune")
    assert code == 0
    assert beginnings(one) == ["prune"]
    assert "target.macs: a float in (0, 1)" in one
    assert one.strip() in every


def test_an_unknown_stage_or_task_is_refused_with_the_nearest(command):
    code, out, err = command("stages", "prun")
    assert (code, out) == (2, "")
    assert err.endswith("Did you mean 'prune'?\n")
    code, out, err = command("tasks", "token-clasification")
    assert (code, out) == (2, "")
    assert err.startswith("error: unknown task 'token-clasification'. Known: ")
    assert err.endswith("Did you mean 'token-classification'?\n")


def test_every_task_is_listed_with_what_it_reads_and_answers(command):
    code, out, err = command("tasks")
    assert (code, err) == (0, "")
    assert beginnings(out) == list(task_names())
    for line in out.splitlines():
        assert len(line) <= 100
        if line[:1] not in ("", " "):
            assert line.rstrip().endswith("."), "a sentence says what the task is for"
    for key in ("samples", "labels", "outputs", "metrics", "transformers", "stages"):
        assert out.count(f"\n  {key} ") == len(task_names()), key


def test_one_task_is_shown_with_its_stages(command):
    code, out, _ = command("tasks", "feature-extraction")
    assert code == 0
    assert beginnings(out) == ["feature-extraction"]
    assert "  samples       texts: column text" in out
    assert "  transformers  AutoModel\n" in out
    stages = next(line for line in out.splitlines() if line.startswith("  stages"))
    assert "distill" in stages
    assert "train" not in stages


def test_a_task_says_its_arguments(command):
    _, out, _ = command("tasks", "tensor-classification")
    assert "  outputs       logits (classes)" in out
    assert "  transformers  none: a module of your own" in out
    described = out[out.index("  arguments.weights (default null)") :]
    assert "weight of each output in the loss" in described


def test_a_task_of_an_installed_package_is_listed_too(command, monkeypatch):
    value = "compress_class_and_box:ClassAndBox"
    entry = EntryPoint("class-and-box", value, registry.GROUP)
    monkeypatch.syspath_prepend(str(THIRD_PARTY))
    monkeypatch.setattr(registry, "_entry_points", lambda: {"class-and-box": entry})
    code, out, _ = command("tasks", "class-and-box")
    sys.modules.pop("compress_class_and_box", None)
    assert code == 0
    assert out.startswith("class-and-box: What is seen, and where: a class and the four sides")
    assert "  samples       arrays by name: columns table, extra\n" in out
    assert "box: numbers of the output's shape" in out
    assert "  outputs       kind (classes), box (values)\n" in out
    assert "  metrics       found\n" in out
    assert "  arguments.box_weight (default 1.0)\n      weight of the box in the loss.\n" in out


def test_a_task_with_arguments_it_needs_says_that_they_decide(command, monkeypatch, tmp_path):
    (tmp_path / "needing.py").write_text(
        "from compress import Task\n"
        "class Needing(Task):\n"
        '    """Needs a number."""\n'
        "    def __init__(self, number):\n"
        "        pass\n"
    )
    monkeypatch.chdir(tmp_path)
    entry = EntryPoint("needing", "needing:Needing", registry.GROUP)
    monkeypatch.setattr(registry, "_entry_points", lambda: {"needing": entry})
    code, out, _ = command("tasks", "needing")
    assert code == 0
    assert "  outputs       as its arguments say\n" in out
    assert out.endswith("  arguments.number (required)\n")
