"""The table of tasks and stages in the documentation is what the code allows."""

from pathlib import Path

from compress.recipe.consistency import can_work
from compress.stages.registry import stage_class, stage_names
from compress.tasks.registry import outline, task_names

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"
OWN = "one of your own"


def table() -> tuple[list[str], dict[str, list[str]]]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head = next(row for row in rows if row[0] == "task")
    body = [row for row in rows if len(row) == len(head) and row[0] != "task"]
    return head[1:], {row[0]: row[1:] for row in body if not row[0].startswith("-")}


def test_the_table_names_every_task_and_stage() -> None:
    stages, tasks = table()
    ours = {name for name in stage_names() if stage_class(name).__module__.startswith("compress.")}
    assert set(stages) == ours
    assert set(tasks) == {*task_names(), OWN}


def test_the_table_says_what_a_recipe_check_allows() -> None:
    stages, tasks = table()
    for name, cells in tasks.items():
        task = outline("package.module:Task" if name == OWN else name)
        allowed = [can_work(stage_class(stage), task) for stage in stages]
        assert cells == ["yes" if each else "no" for each in allowed], name
