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
def cnn(tmp_path_factory):
    """A small CNN trained on digits, as an ONNX file."""
    return export_cnn(tmp_path_factory.mktemp("cnn") / "cnn.onnx", digits())


@pytest.fixture(scope="session")
def transformer(tmp_path_factory):
    """A tiny random BERT as an ONNX file."""
    return export_transformer(tmp_path_factory.mktemp("bert") / "bert.onnx")
