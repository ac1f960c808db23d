"""Models made of a config in the recipe."""

import pytest
import torch
from pydantic import ValidationError

from compress.errors import ModelError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.load import load_model
from compress.models.spec import ModelSpec
from compress.tasks.task import TASKS

LLAMA = {
    "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 24,
    "num_hidden_layers": 2, "num_attention_heads": 2, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
BERT = {
    "model_type": "bert", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 24,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": 5,
}  # fmt: skip
GENERATION, TOKENS = TASKS["text-generation"], TASKS["token-classification"]


def load(keys, task=GENERATION, seed=0):
    return load_model(ModelSpec(config=keys), task=task, seed=seed)


def test_the_seed_decides_the_weights():
    first, again, other = (load(LLAMA, seed=seed) for seed in (0, 0, 1))
    weights = [next(model.module.parameters()) for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert first.notes == ("LlamaForCausalLM: its weights are random (seed 0).",)
    assert first.folder is None
    assert not first.module.training


def test_it_can_be_stored_and_built_again(tmp_path):
    made = load(LLAMA)
    save_checkpoint(made.module, made.source, tmp_path)
    loaded, source = load_checkpoint(tmp_path)
    assert source == made.source
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        wanted, got = (GENERATION.logits(m, {"input_ids": ids}) for m in (made.module, loaded))
    assert torch.equal(wanted, got)


def test_labels_are_the_datas_unless_the_config_names_them():
    assert load(BERT, TOKENS).labels == ()
    assert load(BERT, TOKENS).module.config.num_labels == 5
    named = {key: value for key, value in BERT.items() if key != "num_labels"}
    assert load(named | {"id2label": {0: "O", 1: "B-X"}}, TOKENS).labels == ("O", "B-X")


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"model_type": "lama"}, "knows no model_type 'lama'. Did you mean 'llama'"),
        (LLAMA | {"hiden_size": 3}, "unknown key of a llama config 'hiden_size'.*'hidden_size'"),
        (LLAMA | {"hidden_size": "big"}, "llama config can't be made.*hidden_size"),
        ({"model_type": "gpt2", "n_embd": 10, "n_head": 3}, "gpt2 model for text-generation can't"),
        ({"model_type": "vit"}, "'vit' is for image-classification.* not for text-generation"),
    ],
)
def test_what_makes_no_model_is_said(keys, match):
    with pytest.raises(ModelError, match=match):
        load(keys)


def test_a_spec_with_a_config():
    assert ModelSpec(config=LLAMA).check("text-generation") == []
    [(key, problem)] = ModelSpec(config={"hidden_size": 16}).check("text-generation")
    assert key == "config"
    assert "'model_type' must be the name of a transformers architecture" in problem
    for wrong in (
        {"config": LLAMA, "transformers": "a/b"},
        {"config": LLAMA, "weights": "a.safetensors"},
        {"config": LLAMA, "revision": "main"},
        {"config": LLAMA, "arguments": {"num_labels": 3}},
    ):
        with pytest.raises(ValidationError):
            ModelSpec.model_validate(wrong)


def test_hidden_states_are_the_encoder_s_where_there_is_a_decoder_too():
    keys = {
        "model_type": "t5", "vocab_size": 64, "d_model": 16, "d_kv": 8, "d_ff": 24,
        "num_layers": 2, "num_heads": 2,
    }  # fmt: skip
    made = load(keys, task=TASKS["feature-extraction"])
    assert made.source.class_name == "T5EncoderModel"
    inputs = {"input_ids": torch.ones(1, 4, dtype=torch.long)}
    assert TASKS["feature-extraction"].logits(made.module, inputs).shape == (1, 4, 16)
