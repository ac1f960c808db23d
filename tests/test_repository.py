"""What stands around the package: make targets, hooks and the hosted checks fit one another."""

import re
import tomllib
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    rules = re.findall(r"^([a-z][a-z -]*):(?!=)", makefile, re.MULTILINE)
    assert phony
    assert set(phony[1].split()) <= {name for rule in rules for name in rule.split()}
    return set(phony[1].split())


def made_by(command: str) -> list[str]:
    """Targets of the lines that call make."""
    return [
        word
        for line in re.findall(r"^\s*make (.+)$", command.strip(), re.MULTILINE)
        for word in line.split("#")[0].split()
        if "=" not in word and not word.startswith("-")
    ]


def test_every_hosted_check_is_a_make_target() -> None:
    called = []
    for job in read_yaml(WORKFLOW)["jobs"].values():
        named = job["strategy"]["matrix"]["target"]
        for step in job["steps"]:
            if command := step.get("run"):
                made = made_by(command.replace("${{ matrix.target }}", " ".join(named)))
                assert made, f"{command!r} calls no make target"
                called += made
    assert set(called) == {"lint", "types", "test", "test-deploy", "demo"}
    assert set(called) <= targets()


def test_hosted_checks_may_read_only_and_their_actions_have_versions() -> None:
    workflow = read_yaml(WORKFLOW)
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert len(actions) == 2
    for action in actions:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", action), action
    assert not any("permissions" in job for job in workflow["jobs"].values())


def test_documents_name_make_targets_that_exist() -> None:
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        blocks = "\n".join(re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        inline = "\n".join(re.findall(r"`(make [^`\n]+)`", text))
        named = set(made_by(blocks)) | set(made_by(inline))
        assert named <= targets(), f"{path.name} names a target that the Makefile hasn't"


def test_hooks_run_what_the_lock_file_pins() -> None:
    pinned = {
        line.split("==")[0]
        for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    }
    repositories = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    entries = [hook["entry"].split()[0] for hook in repositories[0]["hooks"]]
    assert entries == [".venv/bin/ruff", ".venv/bin/ruff", ".venv/bin/mypy"]
    assert {Path(entry).name for entry in entries} <= pinned


def test_every_development_tool_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {
        re.split(r"[<>=\[]", requirement)[0].replace("-", "_").lower()
        for requirements in (
            project["dependencies"],
            *project["optional-dependencies"].values(),
        )
        for requirement in requirements
    } - {"compress"}
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].replace("-", "_").lower() for line in lines if "==" in line}
    assert wanted <= pinned
