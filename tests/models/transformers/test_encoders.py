"""The encoders of encoder-decoder models, which are loaded for features of texts."""

import pytest
import torch
import transformers

from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.load import load_model
from compress.models.spec import ModelSpec
from compress.models.weights.skeleton import skeleton
from compress.tasks.task import task
from tests.models.structure.family_models import BART, T5

FEATURES = task("feature-extraction")
KINDS = {"bart": "BartEncoder", "marian": "MarianEncoder", "t5": "T5EncoderModel"}
IDS = {"input_ids": torch.tensor([[5, 6, 7, 2]]), "attention_mask": torch.ones(1, 4).long()}


def keys_of(kind):
    return {"model_type": kind} | (T5 if kind == "t5" else BART)


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_is_made_of_a_config_and_stored(kind, tmp_path):
    spec = ModelSpec(config=keys_of(kind))
    made = load_model(spec, task=FEATURES, seed=0)
    assert type(made.module).__name__ == KINDS[kind]
    assert not any("decoder" in path.split(".") for path, _ in made.module.named_modules())
    save_checkpoint(made.module, made.source, tmp_path)
    again, _ = load_checkpoint(tmp_path)
    with torch.no_grad():
        wanted, got = (FEATURES.logits(module, IDS) for module in (made.module, again))
    assert torch.equal(got, wanted)


@pytest.mark.parametrize("kind", ["bart", "marian"])
def test_an_encoder_is_taken_out_of_a_folder(kind, tmp_path):
    config = transformers.CONFIG_MAPPING[kind](**keys_of(kind))
    torch.manual_seed(0)
    whole = transformers.AutoModel.from_config(config).eval()
    whole.save_pretrained(tmp_path)
    made = load_model(ModelSpec(transformers=str(tmp_path)), task=FEATURES, seed=0)
    with torch.no_grad():
        wanted = whole.get_encoder()(**IDS).last_hidden_state
        assert torch.equal(FEATURES.logits(made.module, IDS), wanted)
    assert made.untrained_head == ()


@pytest.mark.parametrize("kind", KINDS)
def test_the_check_counts_the_encoder_alone(kind):
    spec = ModelSpec(config=keys_of(kind))
    shell, source = skeleton(spec, task=FEATURES)
    assert source.class_name == KINDS[kind] == type(shell).__name__
