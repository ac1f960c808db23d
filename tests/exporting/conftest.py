"""Tiny random models with inputs that mean something."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

from compress.exporting.to_onnx import export_module
from compress.models.resnet import resnet
from compress.tasks.task import TASKS
from tests.exporting.samples import LABELS, images, texts
from tests.exporting.tasks import inputs, model_for, task_of


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def _bert():
    # Weights large enough that every token has its say in the answers.
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=60,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=24,
            max_position_embeddings=40,
            num_labels=3,
            initializer_range=0.5,
        )
    ).eval()


@pytest.fixture
def bert():
    return _bert()


@pytest.fixture(scope="session")
def lowered_bert(tmp_path_factory):
    """A BERT and its ONNX file, for tests that change neither."""
    torch.manual_seed(0)
    module = _bert()
    module.config._name_or_path = "/somewhere/private"
    path = tmp_path_factory.mktemp("exported") / "bert.onnx"
    task = TASKS["text-classification"]
    return module, export_module(
        module, task=task, example=texts(padding=4), path=path, labels=LABELS
    )


@pytest.fixture(scope="session")
def lowered_of(tmp_path_factory):
    """A model of `tests.exporting.tasks`, and its file, for tests that change neither."""
    made = {}

    def exported(name):
        if name not in made:
            module = model_for(name)
            path = tmp_path_factory.mktemp(name) / "model.onnx"
            export_module(module, task=task_of(name), example=inputs(name), path=path, labels=())
            made[name] = module, path
        return made[name]

    return exported


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
            initializer_range=0.5,
        )
    ).eval()


def _cnn():
    torch.manual_seed(0)
    module = resnet(blocks=(1, 1), width=4, in_channels=1, num_classes=3)
    module.train()
    with torch.no_grad():
        module(torch.randn(16, 1, 8, 8))
    return module.eval()


@pytest.fixture
def cnn():
    """A CNN whose BatchNorms have statistics of their own."""
    return _cnn()


@pytest.fixture(scope="session")
def cnn_file(tmp_path_factory):
    """The ONNX file of `cnn`, for tests that don't change it."""
    path = tmp_path_factory.mktemp("cnn") / "cnn.onnx"
    task = TASKS["image-classification"]
    return export_module(_cnn(), task=task, example=images(), path=path, labels=LABELS)
