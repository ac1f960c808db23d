"""The longest text by config is the longest that the model reads."""

import pytest
import torch
import transformers

from compress.models.transformers.positions import image_size, longest_text, longest_text_of

SIZES = {
    "vocab_size": 40,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
    "pad_token_id": 3,
}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("bert", {}),
        ("electra", {}),
        ("albert", {"embedding_size": 8}),
        ("roberta", {}),
        ("xlm-roberta", {}),
        ("camembert", {}),
        ("roberta-prelayernorm", {}),
        ("data2vec-text", {}),
        ("mpnet", {}),
        ("ibert", {}),
        ("distilbert", {"dim": 8, "hidden_dim": 8, "n_layers": 1, "n_heads": 2}),
        ("deberta", {}),
        ("opt", {"ffn_dim": 8, "word_embed_proj_dim": 8}),
    ],
)
def test_the_longest_text_is_read_and_no_longer_one(kind, changes):
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[kind](**SIZES | changes)
    module = transformers.AutoModel.from_config(config).eval()
    most = longest_text(config.to_dict())
    assert longest_text_of(module) == most
    ids = torch.randint(5, 40, (1, most + 1))
    mask = torch.ones_like(ids)
    with torch.no_grad():
        module(input_ids=ids[:, :most], attention_mask=mask[:, :most])
        with pytest.raises((IndexError, RuntimeError)):
            module(input_ids=ids, attention_mask=mask)


def test_rotary_and_relative_positions():
    assert longest_text({"model_type": "llama", "max_position_embeddings": 2048}) == 2048
    assert (
        longest_text({"model_type": "gemma3", "text_config": {"max_position_embeddings": 9}}) == 9
    )
    for kind in ("t5", "bloom", "xlnet"):
        assert longest_text({"model_type": kind, "n_positions": 512}) is None
    relative = {"model_type": "deberta-v2", "position_biased_input": False}
    assert longest_text(relative | {"max_position_embeddings": 512}) is None


@pytest.mark.parametrize("value", [None, "512", -1, True, 0, [512]])
def test_what_is_no_length_is_not_known(value):
    assert longest_text({"model_type": "bert", "max_position_embeddings": value}) is None


def test_sizes_of_images():
    assert image_size({"model_type": "vit", "image_size": 32}) == (32, 32)
    assert image_size({"model_type": "deit", "image_size": [32, 16]}) == (32, 16)
    assert image_size({"model_type": "convnext", "image_size": 224}) is None
    assert image_size({"model_type": "vit", "image_size": "big"}) is None
