"""The JSON schema of recipes, by which editors complete keys and underline mistakes."""

from __future__ import annotations

from typing import Any

from compress.recipe.schema import NAME_PATTERN, Head
from compress.stages.contract import Stage
from compress.stages.registry import stage_class, stage_names
from compress.tasks.registry import task_names


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of recipes (draft 2020-12), with one branch per installed stage.

    Raises
    ------
    RecipeError : a stage's package can't be imported.
    """
    head = Head.model_json_schema(ref_template="#/$defs/{model}")
    definitions = head.pop("$defs", {})
    branches = []
    for use in stage_names():
        branch, inner = _stage(use, stage_class(use))
        definitions |= inner | {use: branch}
        branches.append({"$ref": f"#/$defs/{use}"})
    for branch in head["properties"]["task"]["anyOf"]:
        if branch.get("type") == "string":
            branch["enum"] = sorted(task_names())
    head["properties"]["stages"] = {
        "description": "The stages, in the order in which they run.",
        "type": "array",
        "minItems": 1,
        "items": {"oneOf": branches},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **head,
        "title": "A compress recipe",
        "description": "A model, its data, and the stages that compress it.",
        "required": [*head["required"], "stages"],
        "$defs": dict(sorted(definitions.items())),
    }


def _stage(use: str, stage: type[Stage]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a stage's branch, and the definitions that it refers to, under the stage's name."""
    schema = stage.model_json_schema(ref_template=f"#/$defs/{use}.{{model}}")
    inner = {f"{use}.{name}": found for name, found in schema.pop("$defs", {}).items()}
    beside = {
        "use": {"const": use, "description": "Name of the stage."},
        "name": {
            "type": "string",
            "pattern": NAME_PATTERN,
            "description": "Name of its row and folder; needed where a stage stands twice.",
        },
    }
    schema["properties"] = beside | schema.get("properties", {})
    schema["required"] = ["use", *schema.get("required", [])]
    return schema, inner
