import pytest
import torch

from compress.models.resnet import resnet


@pytest.mark.parametrize(("in_channels", "size"), [(1, 28), (3, 32)])
def test_shapes(in_channels, size):
    module = resnet(blocks=(1, 1), width=4, in_channels=in_channels, num_classes=7).eval()
    assert module(torch.rand(2, in_channels, size, size)).shape == (2, 7)


def test_stages_double_in_width_and_halve_the_image():
    module = resnet(blocks=(1, 1, 1), width=4)
    hidden = torch.rand(1, 4, 16, 16)
    shapes = [tuple((hidden := stage(hidden)).shape[1:]) for stage in module.stages]
    assert shapes == [(4, 16, 16), (8, 8, 8), (16, 4, 4)]


def test_resnet_18_of_width_64_has_the_known_number_of_parameters():
    # torchvision's ResNet-18 has 11,689,512: 1000 classes and a 7x7 stem on 3 channels.
    count = sum(p.numel() for p in resnet(width=64, in_channels=3, num_classes=1000).parameters())
    assert count == 11_689_512 - 64 * 3 * (49 - 9)
