from torch import nn

from compress.models.resnet import resnet
from compress.models.structure.widths import widths


def test_layers_with_weights_are_listed_in_order() -> None:
    module = nn.Sequential(
        nn.Embedding(50, 6), nn.Linear(6, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 3)
    )
    assert widths(module) == {"0": 6, "0 (entries)": 50, "1": 4, "4": 3}


def test_convolutions_have_channels() -> None:
    found = widths(resnet(blocks=[1, 1], width=8, in_channels=1, num_classes=10))
    assert found["conv"] == 8
    assert found["stages.1.0.conv2"] == 16
    assert found["fc"] == 10
