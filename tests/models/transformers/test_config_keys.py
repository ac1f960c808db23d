"""Keys that published configs have, and those that no config has."""

import pytest
import transformers

from compress.errors import ModelError
from compress.models.load import load_model
from compress.models.spec import ModelSpec
from compress.models.transformers.config_keys import known_keys
from compress.models.transformers.configs import untrained_config
from compress.tasks.task import task

PUBLISHED = {
    "deberta-v2": ("position_buckets", "norm_rel_ebd", "share_att_key", "conv_kernel_size"),
    "t5": ("decoder_start_token_id", "task_specific_params", "num_beams", "torch_dtype"),
    "bart": ("forced_bos_token_id", "no_repeat_ngram_size", "gradient_checkpointing"),
    "modernbert": ("global_attn_every_n_layers", "layer_types", "classifier_pooling"),
    "llama": ("rope_theta", "rope_scaling", "pretraining_tp"),
    "gpt2": ("n_ctx", "task_specific_params", "summary_type"),
    "gemma2": ("query_pre_attn_scalar", "final_logit_softcapping"),
    "distilbert": ("sinusoidal_pos_embds", "n_layers", "num_hidden_layers"),
}
"""Some keys of the config.json that each family was published with."""
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
TEXT = SMALL | {"vocab_size": 40, "max_position_embeddings": 32, "pad_token_id": 0}


def load(keys, name="text-classification"):
    return load_model(ModelSpec(config=keys), task=task(name), seed=0).module


@pytest.mark.parametrize("kind", PUBLISHED)
def test_what_a_family_was_published_with_is_known(kind):
    known = known_keys(transformers.CONFIG_MAPPING[kind])
    assert set(PUBLISHED[kind]) <= known
    assert not {"hiden_size", "position_bucket", "to_dict", "from_pretrained"} & known


def test_such_keys_decide_the_model():
    relative = {"relative_attention": True, "position_buckets": 16, "pos_att_type": "p2c|c2p"}
    module = load(TEXT | {"model_type": "deberta-v2"} | relative)
    assert module.deberta.encoder.rel_embeddings.weight.shape == (32, 16)
    config = untrained_config(
        TEXT | {"model_type": "modernbert", "global_attn_every_n_layers": 2, "num_hidden_layers": 3}
    )
    assert [kind.partition("_")[0] for kind in config.layer_types] == ["full", "sliding", "full"]


@pytest.mark.parametrize(
    ("key", "near"),
    [("position_bucket", "position_buckets"), ("hiden_size", "hidden_size")],
)
def test_a_key_that_no_config_has_is_refused_with_the_nearest(key, near):
    said = rf"unknown key of a deberta-v2 config '{key}'.*Did you mean '{near}'"
    with pytest.raises(ModelError, match=said):
        untrained_config(TEXT | {"model_type": "deberta-v2", key: 16})


def test_a_padding_token_beyond_the_vocabulary_says_what_to_set():
    keys = {key: value for key, value in TEXT.items() if key != "pad_token_id"}
    said = (
        r"'pad_token_id' must be below vocab_size, which is 40\. Got 50283\. "
        r"A modernbert config has 50283 unless it is given\."
    )
    with pytest.raises(ModelError, match=said):
        load(keys | {"model_type": "modernbert"})


@pytest.mark.parametrize("kind", ["deit", "vit"])
def test_an_image_classifier_needs_no_architectures(kind):
    keys = SMALL | {"model_type": kind, "image_size": 16, "patch_size": 8, "num_labels": 3}
    module = load(keys, "image-classification")
    assert type(module).__name__ in ("DeiTForImageClassification", "ViTForImageClassification")


def test_a_key_that_only_the_models_of_a_family_read_can_be_given_to_a_folders_config(tmp_path):
    sizes = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1}
    config = transformers.T5Config(**sizes, num_heads=2)
    transformers.T5ForSequenceClassification(config).save_pretrained(tmp_path)

    def given(**arguments):
        spec = ModelSpec(transformers=str(tmp_path), arguments=arguments)
        return load_model(spec, task=task("text-classification"), seed=0)

    loaded = given(decoder_start_token_id=0)
    assert loaded.module.config.decoder_start_token_id == 0
    assert loaded.source.config["decoder_start_token_id"] == 0
    with pytest.raises(
        ModelError, match=r"no 'decoder_start_id'\. Did you mean 'decoder_start_tok"
    ):
        given(decoder_start_id=0)
    with pytest.raises(ModelError, match="a t5 config has no 'num_of_beams'"):
        given(num_of_beams=3)
