import pytest
import torch

from tests.quantization.models import digits, export_cnn, export_transformer


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cnn(exported_once):
    """A small CNN trained on digits, as an ONNX file."""
    return exported_once("trained_cnn", lambda path: export_cnn(path, digits()))


@pytest.fixture(scope="session")
def transformer(exported_once):
    """A tiny random BERT as an ONNX file."""
    return exported_once("bert_of_two_layers", export_transformer)
