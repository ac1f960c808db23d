"""A residual network for small images (He et al., "Deep Residual Learning for Image Recognition",
CVPR 2016, arXiv:1512.03385), with the stem that 28 to 64 pixels need."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut.

    Parameters
    ----------
    in_channels, channels : channels of the input and of the output.
    stride : stride of the first convolution. If the shapes differ, the shortcut is a 1x1
        convolution.
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to (N, channels, H / stride, W / stride)."""
        hidden = self.relu(self.bn1(self.conv1(images)))
        hidden = self.bn2(self.conv2(hidden))
        out: Tensor = self.relu(hidden + self.shortcut(images))
        return out


class ResNet(nn.Module):
    """See `resnet`."""

    def __init__(
        self, blocks: Sequence[int], *, width: int, in_channels: int, num_classes: int
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        stages: list[nn.Module] = []
        channels = width
        for stage, depth in enumerate(blocks):
            layers = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(BasicBlock(channels, width * 2**stage, stride=stride))
                channels = width * 2**stage
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Images (N, in_channels, H, W) to logits (N, num_classes)."""
        hidden = self.stages(self.relu(self.bn(self.conv(pixel_values))))
        logits: Tensor = self.fc(self.pool(hidden).flatten(1))
        return logits


def resnet(
    *,
    blocks: Sequence[int] = (2, 2, 2, 2),
    width: int = 32,
    in_channels: int = 1,
    num_classes: int = 10,
) -> nn.Module:
    """A ResNet with a 3x3 stem that keeps the resolution. Each stage doubles the channels.

    Parameters
    ----------
    blocks : basic blocks in each stage; (2, 2, 2, 2) makes a ResNet-18, (1, 1, 1, 1) a ResNet-10.
    width : channels of the first stage.
    in_channels : channels of the images, (N, in_channels, H, W).
    num_classes : number of logits.
    """
    module = ResNet(blocks, width=width, in_channels=in_channels, num_classes=num_classes)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    return module
