"""Modules that recipes name as `python` models."""

from torch import nn


def one_score():
    """An image network with a single logit, as for a yes or no."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1))


def mobilenet():
    """MobileNetV2 at half width with its stem and first two inverted residual blocks, the second of
    which has a shortcut."""
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    config = MobileNetV2Config(
        num_channels=1, image_size=28, depth_multiplier=0.5, output_stride=16, num_labels=10
    )
    module = MobileNetV2ForImageClassification(config)
    body = module.mobilenet_v2
    body.layer = body.layer[:2]
    kept = body.layer[-1].reduce_1x1.convolution.out_channels
    body.conv_1x1.convolution = nn.Conv2d(kept, module.classifier.in_features, 1, bias=False)
    return module


def convolution(num_classes=10):
    """One convolution with batch norm and a linear layer: enough for digits, and soon exported."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 16, num_classes),
    )
