import sys

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

from compress.errors import StageError
from compress.models.low_bit.layers import stored_bytes, to_low_bit


def bert():
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=64,
        num_attention_heads=2,
        intermediate_size=256,
        num_hidden_layers=2,
        vocab_size=50,
        max_position_embeddings=16,
        num_labels=3,
    )
    return BertForSequenceClassification(config).eval()


@pytest.mark.parametrize(("bits", "tolerance", "share"), [(8, 0.02, 0.45), (4, 0.2, 0.35)])
def test_answers_stay_near_in_fewer_bytes(bits, tolerance, share):
    module = bert()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    low = to_low_bit(module, bits=bits, device="cpu")
    ids = torch.randint(0, 50, (8, 12))
    with torch.no_grad():
        wanted, got = module(ids).logits, low(ids).logits
    difference = float((wanted - got).abs().max() / wanted.abs().max())
    assert 0 < difference < tolerance
    assert stored_bytes(low) < share * stored_bytes(module)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert type(low.classifier) is nn.Linear
    assert not any(parameter.requires_grad for parameter in low.parameters())


def test_of_a_plain_module_the_last_layer_stays():
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    low = to_low_bit(module, bits=8, device="cpu")
    assert type(low[0]).__name__ == "Linear8bitLt"
    assert type(low[2]) is nn.Linear


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 2)),
        GPT2LMHeadModel(
            GPT2Config(n_embd=8, n_head=2, n_layer=1, vocab_size=9, bos_token_id=0, eos_token_id=0)
        ),
    ],
)
def test_a_module_without_linear_layers_is_refused(module):
    with pytest.raises(StageError, match=r"no linear layer .* can't be held in 4 bits"):
        to_low_bit(module, bits=4, device="cpu")


def test_the_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(StageError, match=r"pip install 'compress\[bitsandbytes\]'"):
        to_low_bit(bert(), bits=8, device="cpu")


def test_what_cannot_be_packed_in_4_bits_stays_as_it_is():
    module = nn.Sequential(
        nn.Linear(64, 24), nn.Linear(24, 64), nn.Linear(64, 32), nn.Linear(32, 2)
    )
    smaller = to_low_bit(module, bits=4, device="cpu")
    assert [type(part) is nn.Linear for part in smaller] == [True, True, False, True]
    with pytest.raises(StageError, match="none that fits"):
        to_low_bit(module[:2], bits=4, device="cpu")
