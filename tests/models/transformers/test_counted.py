"""Parameters by a config alone are those of the model that transformers makes."""

import json
import subprocess
import sys

import pytest
import transformers

from compress.models.folder.header import count
from compress.models.spec import ModelSpec
from compress.models.transformers.counted import COUNTED, parameters_of
from compress.models.weights.skeleton import shapes_of, skeleton
from compress.tasks.registry import built_in, outline

SMALL = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 24,
    "pad_token_id": 0,
}
OF_FAMILY = {
    "bert": SMALL | {"type_vocab_size": 3},
    "distilbert": {"vocab_size": 40, "dim": 32, "hidden_dim": 48, "n_layers": 3, "n_heads": 4},
    "gpt2": {"vocab_size": 40, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 9},
    "llama": SMALL | {"num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True},
    "mistral": SMALL | {"num_key_value_heads": 1},
    "qwen2": SMALL | {"num_key_value_heads": 2, "tie_word_embeddings": True},
}
AUTO = {task.auto_class: task.name for task in built_in() if task.auto_class}


def by_torch(config, task_name):
    return count(shapes_of(skeleton(ModelSpec(config=config), task=outline(task_name))[0]))


def compare(config, labels):
    """Compare every head that the family has here; return how many."""
    found = 0
    for auto_class, task_name in AUTO.items():
        own = config | ({} if auto_class == "AutoModelForQuestionAnswering" else labels)
        counted = parameters_of(own, auto_class)
        if counted is not None:
            assert counted == by_torch(own, task_name), (own, auto_class)
            found += 1
    return found


@pytest.mark.parametrize("kind", COUNTED)
def test_every_head_is_counted_as_transformers_makes_it(kind):
    assert compare({"model_type": kind} | OF_FAMILY[kind], {"num_labels": 5}) >= 4


@pytest.mark.parametrize("kind", COUNTED)
def test_keys_that_are_not_named_have_the_defaults_of_transformers(kind):
    assert compare({"model_type": kind}, {}) >= 4


@pytest.mark.parametrize("kind", [kind for kind in COUNTED if kind != "qwen2"])
def test_a_config_as_it_is_stored_is_counted(kind):
    """But for Qwen2's, which lists a type for each layer."""
    made = transformers.CONFIG_MAPPING[kind](**OF_FAMILY[kind])
    assert compare(json.loads(made.to_json_string()), {}) >= 4


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2"])
def test_embeddings_that_are_not_tied_to_the_head_count_twice(kind):
    config = {"model_type": kind} | OF_FAMILY[kind] | {"tie_word_embeddings": False}
    assert compare(config, {}) >= 4


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_bias": True},
        {"is_decoder": None},
        {"hidden_size": "32"},
        {"num_key_value_heads": "2"},
        {"num_attention_heads": 0},
        {"num_attention_heads": 5, "head_dim": None},
        {"pad_token_id": 40},
        {"tie_word_embeddings": 1},
        {"model_type": "modernbert"},
        {"a_key_of_a_later_version": 1},
    ],
)
def test_what_is_not_described_is_not_counted(changes):
    config = {"model_type": "llama"} | OF_FAMILY["llama"] | changes
    assert parameters_of(config, "AutoModelForCausalLM") is None
    assert parameters_of(config, "AutoModelForImageClassification") is None


@pytest.mark.parametrize("recipe", ["text-generation", "token-classification"])
def test_a_recipe_with_a_config_is_checked_without_torch(recipe):
    script = (
        "import sys\n"
        "from compress.cli.command import run_command\n"
        "from compress.cli.interrupts import Interrupts\n"
        f"code = run_command(['check', 'recipes/{recipe}.yaml'], Interrupts())\n"
        "print(code, [name for name in ('torch', 'transformers') if name in sys.modules])\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert "of the teacher's" in said.stdout
    assert said.stdout.splitlines()[-1] == "0 []"
