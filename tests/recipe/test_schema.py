import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from compress.errors import RecipeError
from compress.recipe.catalog.stages import catalog
from compress.recipe.json_schema import recipe_schema
from compress.recipe.load import load_recipe, recipe_from_dict
from compress.recipe.plan import describe
from compress.stages.registry import stage_names


def test_a_resolved_recipe_loads_as_itself(good, tmp_path):
    recipe = load_recipe(good, overrides=["stages.prune.recovery=null", "gates.speedup=2"])
    lock = tmp_path / "recipe.lock.yaml"
    lock.write_text(recipe.to_yaml())
    again = load_recipe(lock)
    assert again.hash == recipe.hash
    assert again.to_yaml() == recipe.to_yaml()
    assert again.stages == recipe.stages
    assert again.stages[1].stage.recovery is None


def test_a_resolved_recipe_holds_every_default(good):
    resolved = load_recipe(good).to_dict()
    assert resolved["seed"] == 0
    assert resolved["measure"]["batch_sizes"] == [1, 32]
    assert resolved["stages"][0]["training"]["optimizer"] == "adamw"
    assert resolved["stages"][3] == resolved["stages"][3] | {"use": "export", "name": "export"}


def test_the_hash_is_of_the_meaning_not_the_text(good):
    recipe = load_recipe(good)
    good.write_text("# a comment\n" + good.read_text() + "seed: 0\n")
    assert load_recipe(good).hash == recipe.hash
    assert load_recipe(good, overrides=["seed=1"]).hash != recipe.hash


def test_source_and_stages(good):
    recipe = load_recipe(good)
    assert recipe.source == good
    assert [name for name, _ in recipe.build_stages()] == ["train", "prune", "quantize", "export"]


def test_a_recipe_from_python_is_checked_alike(good):
    given = load_recipe(good).to_dict()
    assert recipe_from_dict(given).hash == load_recipe(good).hash
    assert recipe_from_dict(given).source is None
    with pytest.raises(RecipeError) as caught:
        recipe_from_dict({**given, "seed": -1})
    [problem] = caught.value.problems
    assert re.search(r"^recipe: 'seed' must be an int", problem)


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "no.yaml")
    [problem] = caught.value.problems
    assert re.search(r"no\.yaml: this file can't be read: no such file", problem)
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    [problem] = caught.value.problems
    assert re.search("this isn't UTF-8 text", problem)


RECIPES = sorted(Path(__file__).parents[2].joinpath("recipes").glob("*.yaml"))


def valid(data: object) -> bool:
    return jsonschema.Draft202012Validator(recipe_schema()).is_valid(data)


def test_the_json_schema_takes_what_the_check_takes(good):
    jsonschema.Draft202012Validator.check_schema(recipe_schema())
    data = YAML(typ="safe").load(good.read_text())
    assert valid(data)
    assert valid(load_recipe(good).to_dict())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_sample_recipe_is_valid(path):
    data = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(recipe_schema()).validate(data)
    assert not valid({**data, "stages": [*data["stages"], {"use": "expert"}]})


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(sed=1),
        lambda data: data["stages"][1].update(targt=1),
        lambda data: data["stages"][1]["target"].update(macs=1.5),
        lambda data: data["stages"][0].update(use="trian"),
        lambda data: data["stages"][1].update(ratios={"*": 1.5}),
        lambda data: data["data"].update(limits=1),
        lambda data: data.update(task="nothing"),
        lambda data: data.update(stages=[]),
    ],
)
def test_the_json_schema_refuses_mistakes(good, change):
    data = YAML(typ="safe").load(good.read_text())
    change(data)
    assert not valid(data)


def test_editors_get_descriptions():
    definitions = recipe_schema()["$defs"]
    assert definitions["prune"]["properties"]["target"]["description"]
    assert definitions["prune"]["additionalProperties"] is False
    assert set(stage_names()) <= set(definitions)


def test_the_plan_follows_formats_and_says_where_results_go(good):
    lines = describe(load_recipe(good, overrides=["gates.speedup=3"]))
    text = "\n".join(lines)
    assert "results  exports/digits" in text
    assert "gates    speedup >= 3 at batch 1" in text
    steps = lines[lines.index("stages") + 1 :]
    assert [" ".join(line.split()[:5]) for line in steps] == [
        "1 train torch -> torch",
        "2 prune torch -> torch",
        "3 quantize torch -> onnx-int8",
        "4 export onnx-int8 -> onnx-int8",
    ]


def test_a_plan_without_export_says_so(good):
    good.write_text(good.read_text().replace("  - use: export\n", ""))
    assert describe(load_recipe(good))[-1].startswith("note: there is no 'export' stage")


def test_the_catalog_shows_types_ranges_defaults_and_descriptions():
    lines = catalog()
    assert "  target.macs: a float in (0, 1) or null (default null)" in lines
    assert "  target: a mapping or null (default null)" in lines
    assert any(line.startswith("quantize: ") for line in lines)
    assert any("attention's matmuls" in line for line in lines)


def test_checking_a_recipe_imports_nothing_heavy(good):
    code = (
        "import sys; from compress.recipe.load import load_recipe; load_recipe(sys.argv[1]);"
        "from compress.recipe.json_schema import recipe_schema; recipe_schema();"
        "heavy = {'torch', 'transformers', 'datasets', 'onnx', 'onnxruntime', 'sklearn', 'scipy',"
        " 'accelerate', 'numpy'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(good)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
