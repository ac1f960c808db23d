"""What is mutated, and which command reads it: for each kind, templates and a maker of cases."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import inputs
import mutations
import yaml

from compress.cli import main

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
OUTPUT = "out"
"""The folder that a case's command may write into."""


@dataclass(frozen=True)
class Case:
    """One file with another content, and the commands that follow.

    Attributes
    ----------
    kind : a key of `KINDS`.
    template : the folder, below the kind's, that the case is a copy of.
    file : the file that is written, relative to the case's folder.
    content : what it then holds.
    commands : arguments of `compress`, each run in the case's folder.
    """

    kind: str
    template: str
    file: str
    content: bytes
    commands: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Kind:
    """A kind of inputs.

    Attributes
    ----------
    count : cases of a whole campaign.
    prepare : writes the template folders, once.
    right : commands that end with 0 in every template as it is.
    make : a case, out of the templates and chance.
    """

    count: int
    prepare: Callable[[Path], None]
    right: tuple[tuple[str, ...], ...]
    make: Callable[[Path, random.Random], Case]


def _run(*rest: str) -> tuple[str, ...]:
    return ("run", "recipe.yaml", "--output", OUTPUT, "--threads", "1", "--device", "cpu", *rest)


def _no_templates(folder: Path) -> None:
    (folder / "empty").mkdir(parents=True)


def _recipe(folder: Path, chance: random.Random) -> Case:
    """A shipped recipe with a changed tree or text is checked; a tiny one runs too."""
    tiny = chance.randint(0, 9) == 0
    path = chance.choice(sorted(RECIPES.glob("*.yaml")))
    whole = path.read_text(encoding="utf-8") if not tiny else yaml.safe_dump(inputs.TINY)
    if chance.randint(0, 1):
        changed = yaml.safe_dump(
            mutations.tree(yaml.safe_load(whole), chance), allow_unicode=True, sort_keys=False
        )
    else:
        changed = mutations.text(whole, chance)
    content = changed.encode("utf-8", "surrogatepass")
    if chance.randint(0, 9) == 0:
        content = mutations.raw(content, chance)
    check = ("check", "recipe.yaml", "--output", OUTPUT)
    commands = (check, _run("--no-python")) if not tiny else (check, _run())
    return Case("recipes", "empty", "recipe.yaml", content, commands if tiny else commands[:1])


def _data_templates(folder: Path) -> None:
    for name, write in inputs.TABLES.items():
        place = folder / name
        place.mkdir(parents=True)
        write(place / f"train.{name}")
        data = {"huggingface": name, "files": {"train": f"train.{name}"}}
        inputs.written(inputs.texts(place, data), place / "recipe.yaml")
    for name, make in (("idx", inputs.idx), ("images", inputs.images)):
        place = folder / name
        place.mkdir(parents=True)
        inputs.written(make(place / "data"), place / "recipe.yaml")


def _data(folder: Path, chance: random.Random) -> Case:
    place = chance.choice(sorted(folder.iterdir()))
    files = sorted(f for f in _files(place) if f.name.startswith("train.") or "data" in f.parts)
    return _mutated("data", place, chance.choice(files), chance, commands=(_run(),))


def _model_templates(folder: Path) -> None:
    place = folder / "bert"
    place.mkdir(parents=True)
    inputs.TABLES["csv"](place / "train.csv")
    data = {"huggingface": "csv", "files": {"train": "train.csv"}}
    inputs.written(inputs.texts(place, data), place / "recipe.yaml")


def _model(folder: Path, chance: random.Random) -> Case:
    place = folder / "bert"
    files = [file for file in _files(place) if file.parts[0] == "model"]
    commands = (("check", "recipe.yaml"), _run())
    return _mutated("models", place, chance.choice(files), chance, commands=commands)


def _published(folder: Path) -> None:
    """A run of the tiny recipe, its bundle included."""
    folder.mkdir(parents=True)
    inputs.written(inputs.TINY, folder / "recipe.yaml")
    with chdir(folder), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        try:
            main(_run())
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"the tiny recipe ended with {end.code}") from end


def _run_templates(folder: Path) -> None:
    _published(folder / "run")


def _onnx(folder: Path, chance: random.Random) -> Case:
    place = folder / "run"
    name = chance.choice(["model.onnx", "model.onnx", "samples.npz"])
    inputs_too = (*_BENCH[:4], "--inputs", f"{OUTPUT}/samples.npz")
    command = inputs_too if name == "samples.npz" else _BENCH
    return _mutated("onnx", place, Path(OUTPUT) / name, chance, commands=(command,))


def _bundle(folder: Path, chance: random.Random) -> Case:
    place = folder / "run"
    files = [file for file in _files(place) if file.parts[0] == OUTPUT and len(file.parts) == 2]
    manifest = Path(OUTPUT) / "manifest.json"
    file = manifest if chance.randint(0, 2) == 0 else chance.choice(files)
    return _mutated("bundles", place, file, chance, commands=(("verify", OUTPUT),))


def _run_folder(folder: Path, chance: random.Random) -> Case:
    place = folder / "run"
    files = [file for file in _files(place) if file.parts[0] == OUTPUT and file.suffix != ".onnx"]
    records = [file for file in files if file.name in ("stage.json", "row.json", "report.json")]
    file = chance.choice(records if chance.randint(0, 1) else files)
    commands = (("compare", OUTPUT), _run())
    return _mutated("runs", place, file, chance, commands=commands)


def _files(place: Path) -> Iterator[Path]:
    return iter(sorted(f.relative_to(place) for f in place.rglob("*") if f.is_file()))


def _mutated(kind: str, place: Path, file: Path, chance: random.Random, *, commands: Any) -> Case:
    content = mutations.file((place / file).read_bytes(), chance, name=file.name)
    return Case(kind, place.name, str(file), content, commands)


_BENCH = ("bench", f"{OUTPUT}/model.onnx", "--seconds", "0.01", "--batch-sizes", "1")

KINDS: dict[str, Kind] = {
    "recipes": Kind(1000, _no_templates, (), _recipe),
    "data": Kind(300, _data_templates, (_run(),), _data),
    "models": Kind(200, _model_templates, (_run(),), _model),
    "onnx": Kind(100, _run_templates, (_BENCH,), _onnx),
    "bundles": Kind(60, _run_templates, (("verify", OUTPUT),), _bundle),
    "runs": Kind(40, _run_templates, (("compare", OUTPUT), _run()), _run_folder),
}
"""By the subcommand's name."""


def laid_out(case: Case, templates: Path, folder: Path) -> None:
    """Write a case's folder."""
    shutil.copytree(templates / case.kind / case.template, folder)
    file = folder / case.file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(case.content)
