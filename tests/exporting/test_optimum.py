"""Names of tasks, inputs and outputs are those of Optimum, as its own core says."""

import numpy as np
import pytest
import torch
from optimum.exporters.tasks import TasksManager
from optimum.utils import (
    DummyPastKeyValuesGenerator,
    DummyTextInputGenerator,
    DummyVisionInputGenerator,
    MistralDummyPastKeyValuesGenerator,
    NormalizedConfigManager,
)

from compress.measurement.session import run, session
from compress.tasks.task import TASKS
from tests.exporting.tasks import inputs, layers_of, task_of

OURS = {
    "multi-label-text-classification": "text-classification",
    "multi-label-image-classification": "image-classification",
    "sentence-similarity": "feature-extraction",
}
"""Tasks that Optimum doesn't tell from another one."""


@pytest.mark.parametrize("name", TASKS)
def test_a_task_loads_the_class_that_optimum_loads(name):
    theirs = OURS.get(name, name)
    assert TasksManager.map_from_synonym(theirs) == theirs
    assert TasksManager.get_model_class_for_task(theirs).__name__ == TASKS[name].auto_class


@pytest.mark.parametrize("name", ["llama", "gpt2", "tokens"])
def test_a_file_takes_the_dummy_inputs_of_optimum(name, exported_model):
    module, path = exported_model(name)
    task, opened = task_of(name), session(path, threads=1)
    config = NormalizedConfigManager.get_normalized_config_class(module.config.model_type)(
        module.config
    )
    assert config.num_layers == layers_of(name)
    sizes = {"batch_size": 3, "sequence_length": 5, "random_sequence_length_range": None}
    text = DummyTextInputGenerator(task.name, config, **sizes)
    names = [value.name for value in opened.get_inputs() if "." not in value.name]
    given = {key: text.generate(key, framework="np") for key in names}
    if task.target == "next-token":
        given |= _caches(module, config, sizes)
        given["attention_mask"] = np.ones((3, 10), np.int64)
        given["position_ids"] = np.tile(np.arange(5, 10), (3, 1))
    assert {value.name for value in opened.get_inputs()} == set(given)
    outputs = run(opened, given)
    assert outputs["logits"].shape[:2] == (3, 5)
    present = {key for key in outputs if key.startswith("present.")}
    assert present == {k.replace("past_key_values", "present") for k in given if "." in k}


def _caches(module, config, sizes):
    """Optimum gives a pair for each layer; its exporter names them so."""
    fewer = getattr(module.config, "num_key_value_heads", 4) != 4
    kind = MistralDummyPastKeyValuesGenerator if fewer else DummyPastKeyValuesGenerator
    past = kind("text-generation", config, **sizes).generate("past_key_values", framework="np")
    return {
        f"past_key_values.{layer}.{part}": values
        for layer, pair in enumerate(past)
        for part, values in zip(("key", "value"), pair, strict=True)
    }


def test_images_are_pixel_values_and_encoders_answer_with_hidden_states(exported_model):
    assert "pixel_values" in DummyVisionInputGenerator.SUPPORTED_INPUT_NAMES
    module, path = exported_model("encoder")
    names = [value.name for value in session(path, threads=1).get_outputs()]
    assert names == ["last_hidden_state"]
    with torch.no_grad():
        assert names[0] in module(**inputs("encoder", 1, 4))
