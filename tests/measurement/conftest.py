"""A CNN and a BERT of a few thousand parameters, as ONNX files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn


class Cnn(nn.Module):
    """Convolutions with and without groups and bias, norms, a transposed one, two linear layers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, groups=4, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 4, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, 16),
            nn.ReLU(),
            nn.Linear(16, 10),
        )

    def forward(self, pixel_values):
        return self.layers(pixel_values)


@pytest.fixture(scope="session")
def cnn() -> Cnn:
    torch.manual_seed(0)
    module = Cnn().eval()
    for parameter in module.parameters():  # so that its answers aren't all one class
        nn.init.normal_(parameter, std=0.5)
    return module


@pytest.fixture(scope="session")
def cnn_onnx(cnn, exported_once) -> Path:
    images = {"pixel_values": torch.zeros(2, 1, 8, 8)}
    axes = {"pixel_values": {0: torch.export.Dim.AUTO}}
    return exported_once("measured_cnn", lambda path: export(cnn, images, path, axes))


@pytest.fixture(scope="session")
def bert():
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=12,
        num_labels=3,
    )
    module = BertForSequenceClassification(config).eval()
    for parameter in module.parameters():  # the exporter merges weights that are equal (all zero)
        nn.init.normal_(parameter, std=0.5)
    return module


@pytest.fixture(scope="session")
def bert_onnx(bert, exported_once) -> Path:
    batch = {name: torch.from_numpy(value) for name, value in text_inputs(2).items()}
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    return exported_once(
        "measured_bert", lambda path: export(bert, batch, path, dict.fromkeys(batch, axes))
    )


def export(module, batch, path, dynamic_shapes) -> Path:
    torch.set_num_threads(1)
    torch.onnx.export(
        module,
        kwargs=batch,
        f=path,
        dynamo=True,
        dynamic_shapes=dynamic_shapes,
        input_names=list(batch),
        output_names=["logits"],
        external_data=False,
        verbose=False,
    )
    return path


def text_inputs(size, *, length=7):
    ids = np.random.default_rng(0).integers(1, 50, size=(size, length))
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }


@pytest.fixture(scope="session")
def texts():
    return text_inputs


@pytest.fixture(scope="session")
def images():
    def make(size):
        values = np.random.default_rng(0).normal(size=(size, 1, 8, 8))
        return {"pixel_values": values.astype(np.float32)}

    return make
