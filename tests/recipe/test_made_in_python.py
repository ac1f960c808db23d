"""Recipes whose stages are Python objects: the same as from YAML, and refused in the same words."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from compress import Distill, Export, Pipeline, Prune, Quantize, Stage, Train, Vocabulary
from compress.core.artifact import Format
from compress.data.spec import DataSpec
from compress.errors import RecipeError
from compress.models.spec import ModelSpec
from compress.recipe.load import recipe_from_dict

HEAD: dict[str, Any] = {
    "name": "mine",
    "model": {"python": "compress.models.resnet:resnet", "arguments": {"num_classes": 10}},
    "task": "image-classification",
    "data": {"sklearn": "digits"},
}


class Own(Stage):
    """Not registered."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH}


def refused(make: Any) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        make()
    return list(caught.value.problems)


def test_stages_are_taken_as_they_are_and_mean_what_yaml_would() -> None:
    stages = [Train(), Prune(target={"macs": 0.5}), Prune(target={"macs": 0.8}), Export()]
    recipe = Pipeline(stages, **HEAD).recipe
    assert [step.name for step in recipe.stages] == ["train", "prune", "prune-2", "export"]
    assert all(step.stage is made for step, made in zip(recipe.stages, stages, strict=True))
    written = [
        {"use": "train"},
        {"use": "prune", "target": {"macs": 0.5}},
        {"use": "prune", "name": "prune-2", "target": {"macs": 0.8}},
        {"use": "export"},
    ]
    assert recipe == recipe_from_dict({"version": 1, **HEAD, "stages": written})
    specs = HEAD | {"model": ModelSpec(**HEAD["model"]), "data": DataSpec(**HEAD["data"])}
    assert Pipeline(stages, **specs).recipe.hash == recipe.hash


@pytest.mark.parametrize(
    ("stages", "changes", "written"),
    [
        ([Export(), Quantize(), Prune(target={"macs": 0.5})], {}, ["export", "quantize", "prune"]),
        ([Vocabulary(), Export()], {}, ["vocabulary", "export"]),
        ([Distill()], {"model": {"python": "no"}, "data": {"sklearn": "digit"}}, ["distill"]),
        ([Export(transformers_js=True)], {"measure": {"metric": "f1"}}, ["export"]),
        ([Export()], {"task": "classify", "gates": {"speedup": -1}, "name": "a b"}, ["export"]),
        ([], {}, []),
    ],
)
def test_what_is_wrong_is_said_as_of_yaml(
    stages: list[Stage], changes: dict[str, Any], written: list[str]
) -> None:
    head = HEAD | changes
    plain = [
        {"use": use, **stage.model_dump(mode="json", exclude_unset=True)}
        for use, stage in zip(written, stages, strict=True)
    ]
    wanted = refused(lambda: recipe_from_dict({"version": 1, **head, "stages": plain}))
    assert refused(lambda: Pipeline(stages, **head)) == wanted
    assert all(problem.startswith("recipe: ") for problem in wanted)


def test_a_stage_that_no_package_registers_is_refused() -> None:
    [problem] = refused(lambda: Pipeline([Own(), Export()], **HEAD))
    assert problem.startswith("recipe: stages[0]: unknown stage 'own'. Known: ")
    assert "Own needs an entry point in the group 'compress.stages'" in problem

    class Prune(Own):
        """Of a name that is taken."""

    [problem] = refused(lambda: Pipeline([Prune(), Export()], **HEAD))
    assert "Prune isn't registered; 'prune' is Prune." in problem
