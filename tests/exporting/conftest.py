"""Tiny random models with inputs that mean something."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

from compress.models.resnet import resnet

LABELS = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bert():
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=60,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=24,
            max_position_embeddings=40,
            num_labels=3,
        )
    ).eval()


@pytest.fixture
def vit():
    return ViTForImageClassification(
        ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=24,
            image_size=8,
            patch_size=4,
            num_channels=1,
            num_labels=3,
        )
    ).eval()


@pytest.fixture
def cnn():
    """A CNN whose BatchNorms have statistics of their own."""
    module = resnet(blocks=(1, 1), width=4, in_channels=1, num_classes=3)
    module.train()
    with torch.no_grad():
        module(torch.randn(16, 1, 8, 8))
    return module.eval()


def texts(count=2, length=9, *, padding=0):
    """A batch of token ids (count, length + padding), of which the last `padding` are masked."""
    ids = torch.randint(5, 60, (count, length))
    mask = torch.ones_like(ids)
    empty = torch.zeros(count, padding, dtype=torch.int64)
    ids, mask = torch.cat([ids, empty], 1), torch.cat([mask, empty], 1)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


def images(count=2):
    return {"pixel_values": torch.randn(count, 1, 8, 8)}
