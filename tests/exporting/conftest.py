"""Tiny random models with inputs that mean something."""

import pytest
import torch

from compress.exporting.to_onnx import export_module
from compress.models.resnet import resnet
from compress.tasks.task import TASKS
from tests.exporting.samples import LABELS, images
from tests.exporting.tasks import model_for


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bert():
    return model_for("bert")


@pytest.fixture(scope="session")
def exported_bert(exported_model):
    """A BERT and its ONNX file, for tests that change neither."""
    return exported_model("bert")


@pytest.fixture
def vit():
    return model_for("vit")


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
def cnn_file(exported_once):
    """The ONNX file of `cnn`, for tests that don't change it."""
    task = TASKS["image-classification"]
    return exported_once(
        "cnn",
        lambda path: export_module(_cnn(), task=task, example=images(), path=path, labels=LABELS),
    )
