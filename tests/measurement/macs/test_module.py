"""A module's multiply-accumulates are those of its graph, and those counted by hand."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from compress.errors import StageError
from compress.exporting.to_onnx import export_module
from compress.measurement.macs.graph import count_macs
from compress.measurement.macs.module import module_macs
from compress.tasks.task import task
from tests.measurement.macs.models import IMAGES, LENGTH, WIDTH, WORDS, Convolutions, Words, words
from tests.measurement.macs.models import TEXTS as NETS

TEXT = task("text-classification")
NOT_EXPORTED = (
    "LSTM, projected",  # ONNX has no such operator
    *("LSTM", "GRU"),  # the graphs with two layers and both directions have all that theirs have
)


def of_module(module, inputs, kind=TEXT):
    return module_macs(module, task=kind, inputs={name: x[:1] for name, x in inputs.items()})


def of_graph(module, inputs, path, kind=TEXT):
    export_module(module, task=kind, example=inputs, path=path, labels=["a", "b", "c"])
    return count_macs(path, {name: x[:1].numpy() for name, x in inputs.items()})


@pytest.mark.parametrize("name", NETS)
def test_of_a_module_by_hand(name):
    module, macs = words(name)
    found = of_module(module, WORDS)
    assert (found.total, dict(found.unknown)) == (macs, {})


@pytest.mark.parametrize("name", [name for name in NETS if name not in NOT_EXPORTED])
def test_of_its_graph_by_hand(name, tmp_path):
    module, macs = words(name)
    assert of_graph(module, WORDS, tmp_path / "model.onnx") == (macs, ())


def test_convolutions(tmp_path):
    module, images = Convolutions().eval(), {"pixel_values": IMAGES}
    kind = task("image-classification")
    assert of_module(module, images, kind).total == Convolutions.macs
    assert of_graph(module, images, tmp_path / "model.onnx", kind) == (Convolutions.macs, ())


def test_the_fused_path_of_transformer_layers_is_left_as_it_was():
    module, macs = words("TransformerEncoder")
    assert torch.backends.mha.get_fastpath_enabled()
    assert of_module(module, WORDS).total == macs
    assert torch.backends.mha.get_fastpath_enabled()
    assert of_module(module.train(), WORDS).total == macs


class Kernel(nn.Module):
    """Asks for one fused kernel."""

    def forward(self, states):
        heads = states.unflatten(-1, (2, WIDTH // 2)).transpose(1, 2)
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            mixed = scaled_dot_product_attention(heads, heads, heads)
        return mixed.transpose(1, 2).flatten(2)


def test_a_fused_kernel_that_a_module_asks_for_counts_as_its_two_products():
    module = Words(Kernel()).eval()
    assert of_module(module, WORDS).total == 2 * LENGTH**2 * WIDTH + WIDTH * 3


class Inference(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.LSTM(WIDTH, WIDTH, batch_first=True)

    @torch.inference_mode()
    def forward(self, states):
        return self.inner(states)[0]


def test_in_inference_mode_operators_are_seen_through():
    module = Words(Inference()).eval()
    assert of_module(module, WORDS).total == LENGTH * 4 * WIDTH * 2 * WIDTH + WIDTH * 3


def test_what_is_put_down_to_a_weight_is_all_that_it_multiplies():
    found = of_module(words("LSTM")[0], WORDS)
    macs = dict(found.layers)
    assert macs == {
        "body.weight_ih_l0": LENGTH * 20 * WIDTH,
        "body.weight_hh_l0": LENGTH * 20 * 5,
        "head.weight": 5 * 3,
    }


class Integers(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.ao.nn.quantized.dynamic.Linear(WIDTH, WIDTH)

    def forward(self, states):
        return self.inner(states)


def test_operators_that_cannot_be_counted_are_named():
    found = of_module(Words(Integers()).eval(), WORDS)
    assert found.unknown == {"linear_dynamic": 1}
    assert found.total == WIDTH * 3


def test_a_module_that_fails_leaves_the_fused_path_as_it_was():
    class Fails(nn.Module):
        def forward(self, states):
            raise StageError("no")

    with pytest.raises(StageError, match="no"):
        of_module(Words(Fails()).eval(), WORDS)
    assert torch.backends.mha.get_fastpath_enabled()
