import json

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

from compress.errors import ModelError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.low_bit.layers import low_bit_layers, stored_bytes, to_low_bit
from compress.models.low_bit.stored import packed
from compress.models.source import LowBitSource, TransformersSource, source_from_dict

IDS = torch.arange(24).reshape(2, 12)


def bert():
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=64,
        num_attention_heads=2,
        intermediate_size=128,
        num_hidden_layers=2,
        vocab_size=50,
        max_position_embeddings=16,
        num_labels=3,
    )
    return BertForSequenceClassification(config).eval()


def narrower(module):
    """Fewer neurons in one layer than its config says, as after pruning."""
    layer = module.bert.encoder.layer[0]
    layer.intermediate.dense = nn.Linear(64, 96)
    layer.output.dense = nn.Linear(96, 64)
    return module


def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=16,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def low(module, bits):
    source = LowBitSource(TransformersSource.of(module), bits, low_bit_layers(module, bits=bits))
    return to_low_bit(module, bits=bits, device="cpu"), source


def answers(module):
    with torch.no_grad():
        return module(IDS).logits


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("make", [bert, lambda: narrower(bert()), llama])
def test_a_checkpoint_rebuilds_the_module_bit_for_bit(make, bits, tmp_path):
    smaller, source = low(make(), bits)
    names = [(name, type(part)) for name, part in smaller.named_modules()]
    save_checkpoint(smaller, source, tmp_path)
    again, found = load_checkpoint(tmp_path)
    assert found == source
    assert [(name, type(part)) for name, part in again.named_modules()] == names
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in smaller.state_dict().items())
    torch.testing.assert_close(answers(again), answers(smaller), rtol=1e-5, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in again.parameters())
    size = (tmp_path / "checkpoint.safetensors").stat().st_size
    assert size < stored_bytes(smaller) + 16_000


def test_a_tied_head_stays_tied(tmp_path):
    save_checkpoint(*low(llama(), 8), tmp_path)
    again, _ = load_checkpoint(tmp_path)
    assert again.lm_head.weight is again.model.embed_tokens.weight


def test_packing_leaves_the_module_as_it_was():
    smaller, _ = low(bert(), 8)
    wanted = answers(smaller)
    plain = packed(smaller)
    assert torch.equal(answers(smaller), wanted)
    embedding = "bert.embeddings.word_embeddings.weight"
    assert plain.get_parameter(embedding) is smaller.get_parameter(embedding)
    assert packed(plain) is plain


def test_the_source_survives_json():
    _, source = low(bert(), 4)
    assert source_from_dict(json.loads(json.dumps(source.to_dict()))) == source


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"bits": 3}, "bits are 4 or 8"),
        ({"layers": 1}, "layers a list"),
        ({"base": None}, "needs base, bits, layers"),
        ({"layers": ["bert.encoder.layer.9"]}, "no layer 'bert.encoder.layer.9'"),
        ({"layers": ["bert.embeddings"]}, "isn't a linear layer"),
    ],
)
def test_damaged_sources_are_refused(change, part):
    _, source = low(bert(), 8)
    with pytest.raises(ModelError, match=part):
        source_from_dict(source.to_dict() | change).build()
