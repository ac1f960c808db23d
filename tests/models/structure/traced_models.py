"""Tiny modules that nobody has described, to be traced."""

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from tests.models.structure.small_models import shake_batch_norms


class Plain(nn.Module):
    """Convolutions, batch norms, a flattened image into two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.hidden = nn.Linear(12 * 16, 20)
        self.out = nn.Linear(20, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.second(self.norm(self.first(images)).relu())
        hidden = hidden.relu().view(len(images), -1)
        answer: Tensor = self.out(self.hidden(hidden).relu())
        return answer


class Grouped(nn.Module):
    """As ResNeXt: convolutions in 4 groups between pointwise ones, with a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 3, padding=1)
        self.narrow = nn.Conv2d(12, 16, 1)
        self.norm = nn.BatchNorm2d(16)
        self.grouped = nn.Conv2d(16, 24, 3, padding=1, groups=4)
        self.wide = nn.Conv2d(24, 12, 1)
        self.out = nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images).relu()
        hidden = self.grouped(self.norm(self.narrow(stem)).relu())
        stem = stem + self.wide(hidden.relu())
        answer: Tensor = self.out(stem.mean((2, 3)))
        return answer


class GroupNorms(nn.Module):
    """Group normalisation in 4 groups and over each channel; instance normalisation without gains,
    with them, and with statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.four = nn.GroupNorm(4, 16)
        self.second = nn.Conv2d(16, 8, 3, padding=1)
        self.each = nn.GroupNorm(8, 8)
        self.third = nn.Conv2d(8, 8, 3, padding=1)
        self.instance = nn.InstanceNorm2d(8)
        self.gained = nn.InstanceNorm2d(8, affine=True)
        self.tracked = nn.InstanceNorm2d(8, affine=True, track_running_stats=True)
        self.out = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.second(self.four(self.first(images)).relu())
        hidden = self.third(self.each(hidden).relu())
        hidden = functional.max_pool2d(self.instance(hidden).relu(), 2)
        hidden = self.tracked(self.gained(hidden))
        answer: Tensor = self.out(hidden.amax((2, 3)))
        return answer


class Dense(nn.Module):
    """As DenseNet: each layer reads all before it, the image included."""

    def __init__(self) -> None:
        super().__init__()
        widths = [1, 9, 15]
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.layers = nn.ModuleList(
            nn.Conv2d(width, made, 3, padding=1)
            for width, made in zip(widths, (8, 6, 4), strict=True)
        )
        self.last = nn.BatchNorm2d(19)
        self.out = nn.Linear(19, 3)

    def forward(self, images: Tensor) -> Tensor:
        seen = [images]
        for norm, layer in zip(self.norms, self.layers, strict=True):
            seen.append(layer(norm(torch.cat(seen, 1)).relu()))
        answer: Tensor = self.out(self.last(torch.cat(seen, 1)).mean((2, 3)))
        return answer


class Upwards(nn.Module):
    """Transposed convolutions: plain, in 2 groups, depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, 12, 2, stride=2)
        self.grouped = nn.ConvTranspose2d(12, 8, 2, groups=2)
        self.deep = nn.ConvTranspose2d(8, 8, 3, groups=8)
        self.last = nn.Conv2d(8, 6, 3)
        self.out = nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.grouped(self.up(self.first(images).relu()).relu())
        hidden = self.last(self.deep(hidden.relu()).sigmoid())
        answer: Tensor = self.out(hidden.mean((2, 3)))
        return answer


class Squeeze(nn.Module):
    """As squeeze-and-excite: channels are scaled by what two layers make of their means."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.squeeze = nn.Linear(16, 6)
        self.excite = nn.Linear(6, 16)
        self.second = nn.Conv2d(16, 8, 3)
        self.out = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.norm(self.first(images)).relu()
        scale = self.excite(self.squeeze(hidden.mean((2, 3))).relu()).sigmoid()
        hidden = self.second(hidden * scale[:, :, None, None])
        answer: Tensor = self.out(functional.adaptive_avg_pool2d(hidden, 1).flatten(1))
        return answer


class Halves(nn.Module):
    """Chunk in swapped order, split, a gated unit, and channels-last flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.left = nn.Conv2d(8, 8, 3, padding=1)
        self.second = nn.Conv2d(16, 12, 1)
        self.third = nn.Conv2d(12, 10, 1)
        self.fourth = nn.Conv2d(5, 6, 3, stride=2)
        self.hidden = nn.Linear(6 * 9, 16)
        self.out = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        one, two = self.first(images).chunk(2, dim=1)
        hidden = self.second(torch.cat([self.left(two).relu(), one], dim=1))
        small, large = hidden.split(hidden.shape[1] // 2, dim=1)
        hidden = self.third(torch.cat([large, small.sigmoid()], dim=1))
        hidden = self.fourth(functional.glu(hidden, dim=1))
        hidden = self.hidden(hidden.permute(0, 2, 3, 1).reshape(len(images), -1))
        answer: Tensor = self.out(functional.glu(hidden, dim=-1))
        return answer


class Mixer(nn.Module):
    """Without convolutions: tokens and channels are mixed in turn, and what is learned is added."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 12)
        self.places = nn.Parameter(torch.randn(1, 8, 12))
        self.register_buffer("waves", torch.randn(8, 12))
        self.norm = nn.LayerNorm(12)
        self.tokens_up, self.tokens_down = nn.Linear(8, 10), nn.Linear(10, 8)
        self.scale = nn.Parameter(torch.rand(12))
        self.rms = nn.RMSNorm(12)
        self.up, self.down = nn.Linear(12, 14), nn.Linear(14, 12)
        self.out = nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.embed(images[:, 0]) + self.places + self.waves
        mixed = self.tokens_up(self.norm(hidden).transpose(1, 2))
        hidden = hidden + self.scale * self.tokens_down(mixed.relu()).mT
        hidden = hidden + self.down(functional.gelu(self.up(self.rms(hidden))))
        answer: Tensor = self.out(hidden.mean(1))
        return answer


class Reader(nn.Module):
    """An embedding, attention whose heads are counted from the width, and an MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 12)
        self.norm = nn.LayerNorm(12)
        self.query, self.key, self.value = (nn.Linear(12, 16) for _ in range(3))
        self.mix = nn.Linear(16, 12)
        self.up, self.down = nn.Linear(12, 20), nn.Linear(20, 12)
        self.out = nn.Linear(12, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embed(tokens)
        given = self.norm(hidden)
        heads = [
            layer(given).unflatten(-1, (-1, 4)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        ]
        scores = (heads[0] @ heads[1].mT / 2).softmax(-1)
        hidden = hidden + self.mix((scores @ heads[2]).transpose(1, 2).flatten(2))
        hidden = hidden + self.down(self.up(hidden).relu())
        answer: Tensor = self.out(hidden.mean(1))
        return answer


class Shuffled(nn.Module):
    """As ShuffleNet: a grouped convolution whose groups' channels are then dealt out."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 12, 3, padding=1)
        self.grouped = nn.Conv2d(12, 12, 1, groups=2)
        self.deep = nn.Conv2d(12, 12, 3, groups=12)
        self.last = nn.Conv2d(12, 8, 1, groups=2)
        self.out = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.grouped(self.first(images).relu())
        n, channels, height, width = hidden.shape
        hidden = hidden.view(n, 2, channels // 2, height, width).transpose(1, 2)
        hidden = self.deep(hidden.reshape(n, channels, height, width))
        answer: Tensor = self.out(self.last(hidden).mean((2, 3)))
        return answer


class Shared(nn.Module):
    """One layer is called twice, and two have one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 10, 3, padding=1)
        self.again = nn.Conv2d(10, 10, 3, padding=1)
        self.one, self.two = nn.Linear(10, 10), nn.Linear(10, 10)
        self.two.weight = self.one.weight
        self.out = nn.Linear(10, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.again(self.again(self.first(images)).relu()).mean((2, 3))
        answer: Tensor = self.out(self.two(self.one(hidden).relu()))
        return answer


def resnet_of_transformers():
    config = transformers.ResNetConfig(
        num_channels=1,
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 2],
        layer_type="bottleneck",
        num_labels=3,
    )
    return transformers.ResNetForImageClassification(config)


def mobilenet():
    config = transformers.MobileNetV2Config(
        num_channels=1, image_size=16, depth_multiplier=0.25, num_labels=3
    )
    return transformers.MobileNetV2ForImageClassification(config)


def convnext():
    config = transformers.ConvNextConfig(
        num_channels=1,
        image_size=16,
        patch_size=2,
        hidden_sizes=[8, 12],
        depths=[1, 2],
        num_stages=2,
        layer_scale_init_value=0.7,
        num_labels=3,
    )
    return transformers.ConvNextForImageClassification(config)


BUILT = {
    "plain": Plain,
    "grouped": Grouped,
    "group norms": GroupNorms,
    "dense": Dense,
    "upwards": Upwards,
    "squeeze": Squeeze,
    "halves": Halves,
    "mixer": Mixer,
    "reader": Reader,
    "shuffled": Shuffled,
    "shared": Shared,
    "resnet": resnet_of_transformers,
    "mobilenet_v2": mobilenet,
    "convnext": convnext,
}
SIZES = {"resnet": 16, "mobilenet_v2": 16, "convnext": 16}


def built(name):
    """(module in eval mode with shaken statistics, example inputs) of a name."""
    torch.manual_seed(0)
    module = shake_batch_norms(BUILT[name]())
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
                part.weight.uniform_(0.5, 1.5)
                if getattr(part, "bias", None) is not None:
                    part.bias.uniform_(-0.5, 0.5)
    if name == "reader":
        return module, {"input_ids": torch.randint(0, 50, (2, 7))}
    size = SIZES.get(name, 8)
    return module, {"pixel_values": torch.rand(2, 1, size, size)}
