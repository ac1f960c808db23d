"""MACs of families by hand, and parameters that are the file's own initialisers."""

import math

import numpy as np
import onnx
import pytest

from compress.measurement.macs.graph import count_macs
from compress.measurement.params import count_params

TOKENS = 7


def text():
    return {
        "input_ids": np.ones((1, TOKENS), np.int64),
        "attention_mask": np.ones((1, TOKENS), np.int64),
    }


def vit(config):
    """An image of 8 x 8 in patches of 4 x 4, and the class token, which the head reads."""
    h, f = config.hidden_size, config.intermediate_size
    patches = (config.image_size // config.patch_size) ** 2
    embedding = patches * h * config.num_channels * config.patch_size**2
    s = patches + 1
    layer = 4 * s * h * h + 2 * s * s * h + 2 * s * h * f
    return embedding + config.num_hidden_layers * layer + h * config.num_labels


def llama(config):
    """Fewer heads of keys and values than of queries, a gate, and a word for every token."""
    h, f = config.hidden_size, config.intermediate_size
    width = h // config.num_attention_heads
    shared = width * config.num_key_value_heads
    projections = TOKENS * (2 * h * h + 2 * h * shared)
    attention = 2 * TOKENS * TOKENS * h
    layer = projections + attention + 3 * TOKENS * h * f
    return config.num_hidden_layers * layer + TOKENS * h * config.vocab_size


@pytest.mark.parametrize("family", [vit, llama])
def test_macs_are_those_by_hand(family, exported_model):
    module, path = exported_model(family.__name__)
    inputs = {"pixel_values": np.zeros((1, 1, 8, 8), np.float32)} if family is vit else text()
    found = count_macs(path, inputs)
    assert found.total == pytest.approx(family(module.config), rel=0.01)


@pytest.mark.parametrize("family", ["vit", "llama"])
def test_parameters_are_the_initialisers(family, exported_model):
    module, path = exported_model(family)
    floats = {
        tensor.name: math.prod(tensor.dims)
        for tensor in onnx.load(path).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and math.prod(tensor.dims) > 1
    }
    # A head that shares the embedding's weight has a copy of it in its own order.
    copies = [name for name in floats if name.removesuffix(".transposed") in floats.keys() - {name}]
    assert copies == (["model.embed_tokens.weight.transposed"] if family == "llama" else [])
    assert count_params(path) == sum(floats.values()) - sum(floats[name] for name in copies)
    weights = sum(each.numel() for each in module.parameters())
    # Frequencies of rotary positions are a table in the file, and no parameter of the module.
    table = sum(each.numel() for each in module.buffers()) if family == "llama" else 0
    assert weights <= count_params(path) <= weights + table
