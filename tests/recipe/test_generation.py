"""What a recipe for text generation may say of the text with which models are timed."""

from pathlib import Path

import pytest

from compress.errors import RecipeError
from compress.recipe.load import load_recipe
from compress.recipe.plan import describe
from compress.stages.quantize.stage import Quantize

TEXTS = Path(__file__).parents[2] / "recipes" / "text-generation.yaml"


@pytest.mark.parametrize("key", ["measure.generation", "stages.2.evaluation.generation"])
def test_a_prompt_and_an_answer_are_no_longer_than_texts(key):
    with pytest.raises(RecipeError) as error:
        load_recipe(TEXTS, overrides=[f"{key}={{prompt: 100, answer: 29}}"])
    [found] = error.value.problems
    assert found.endswith(
        "generation' must be a prompt and an answer of together at most 128 tokens (max_length). "
        "Got {'prompt': 100, 'answer': 29}."
    )
    assert load_recipe(TEXTS, overrides=[f"{key}={{prompt: 100, answer: 28}}"])


def test_the_plan_says_how_generation_is_timed():
    lines = describe(load_recipe(TEXTS, overrides=["measure.generation={prompt: 100}"]))
    assert any("generation with a prompt of 100 tokens, 1 thread" in line for line in lines)


def test_batch_sizes_of_candidates_are_called_unused():
    stage = Quantize.model_validate({"evaluation": {"batch_sizes": [1]}})
    assert stage.warnings(task="text-generation", model=None, data=None) == [
        "'evaluation.batch_sizes' isn't used: candidates are timed as they generate text"
    ]
    assert stage.warnings(task="image-classification", model=None, data=None) == []
    assert Quantize().warnings(task="text-generation", model=None, data=None) == []
