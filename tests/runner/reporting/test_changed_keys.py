from pathlib import Path

import pytest

from compress.recipe.load import load_recipe
from compress.runner.reporting.changed_keys import changed_keys

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.yaml"))
SMALL = """\
version: 1
name: small
model: {python: "compress.models.resnet:resnet", arguments: {width: 8}}
task: image-classification
data: {sklearn: digits, image: {mean: [0.3], std: [0.37]}}
measure: {rounds: 12, seconds: 2}
stages:
  - {use: train, name: first, training: {epochs: 3, batch_size: 64}}
  - use: export
"""


def test_only_what_was_changed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(SMALL)
    found = changed_keys(load_recipe(path))
    assert "measure.seconds" in found
    assert "stages.first.training.batch_size" in found
    assert "model.arguments.width" in found
    assert {"stages.first.use", "stages.first.name", "stages.export.use"} <= set(found)
    # Written down, but at their default.
    assert "measure.rounds" not in found
    assert "stages.first.training.epochs" not in found
    assert "gates" not in found


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_key_is_one_of_the_whole_recipe(path: Path) -> None:
    # Fashion-MNIST is a package of Debian's that may not be installed.
    absent = path.stem in ("fashion-mnist", "mobilenet")
    overrides = ["data={sklearn: digits}"] if absent else []
    if path.stem == "reranking":  # its data are the user's
        overrides = ["data={huggingface: my/rankings}"]
    if path.stem == "sentence-retrieval":  # and these
        overrides = ["data={huggingface: my/pairs, columns: {text: query, text_pair: document}}"]
    recipe = load_recipe(path, overrides=overrides)
    whole = recipe.to_dict()
    whole["stages"] = {step["name"]: step for step in whole["stages"]}
    for key in changed_keys(recipe):
        value = whole
        for part in key.split("."):
            assert part in value, key
            value = value[part]
