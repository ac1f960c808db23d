"""Models trained for seconds, then made hard to quantize without changing what they answer."""

import numpy as np
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from compress.exporting.to_onnx import export_module
from compress.measurement.cpu import this_cpu
from compress.measurement.session import run, session
from compress.onnx_graph.files import load_graph
from compress.quantization.calibration.observe import observe
from compress.quantization.cpu import integers_for
from compress.quantization.selection import select
from compress.quantization.static import activations, quantize_static
from compress.tasks.task import TASKS
from tests.quantization.models import digits

TASK = TASKS["image-classification"]
TRAINED = 1400


def calibration():
    images, _ = digits()
    return [{"pixel_values": part} for part in images[:64].split(32)]


def train(module, *, epochs, rate):
    images, labels = digits()
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(module.train().parameters(), lr=rate)
    for _ in range(epochs):
        for part in torch.randperm(TRAINED).split(64):
            optimizer.zero_grad()
            scores = TASK.logits(module, {"pixel_values": images[part]})
            nn.functional.cross_entropy(scores, labels[part]).backward()
            optimizer.step()
    return module.eval()


def trained_vit():
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=8,
        patch_size=4,
        initializer_range=0.2,
        num_channels=1,
        num_labels=10,
    )
    return train(ViTForImageClassification(config), epochs=6, rate=3e-3)


def with_outliers(module, *, factor=300.0, channels=(5,)):
    """Channels of every pre-norm of a ViT grow, and what reads them shrinks as much."""
    with torch.no_grad():
        for layer in module.vit.layers:
            attention = (layer.attention.q_proj, layer.attention.k_proj, layer.attention.v_proj)
            for norm, readers in (
                (layer.layernorm_before, attention),
                (layer.layernorm_after, (layer.mlp.fc1,)),
            ):
                for channel in channels:
                    norm.weight[channel] *= factor
                    norm.bias[channel] *= factor
                    for reader in readers:
                        reader.weight[:, channel] /= factor
    return module


class DepthwiseNetwork(nn.Module):
    """Blocks of MobileNetV2: wide, channel by channel, narrow again."""

    def __init__(self, width=12, wide=32):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width))
        self.blocks = nn.ModuleList(_block(width, wide) for _ in range(2))
        self.head = nn.Linear(width, 10)

    def forward(self, pixel_values):
        x = nn.functional.relu6(self.stem(pixel_values))
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean((2, 3)))


def _block(width, wide):
    return nn.Sequential(
        nn.Conv2d(width, wide, 1, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU6(),
        nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU6(),
        nn.Conv2d(wide, width, 1, bias=False),
        nn.BatchNorm2d(width),
    )


def trained_depthwise():
    torch.manual_seed(0)
    return train(DepthwiseNetwork(), epochs=8, rate=1e-2)


def with_uneven_ranges(module, *, least=0.003):
    """Channels before ReLU6 shrink by random factors, where they never reach 6; readers grow."""
    images, _ = digits()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        x = nn.functional.relu6(module.stem(images))
        for block in module.blocks:
            for place in (1, 4):
                largest = block[: place + 1](x).amax((0, 2, 3))
                drawn = least ** torch.rand(len(largest), generator=generator)
                factors = torch.where(largest < 6, drawn, 1.0)
                block[place].weight *= factors
                block[place].bias *= factors
                shape = (-1, 1, 1, 1) if block[place + 2].groups > 1 else (1, -1, 1, 1)
                block[place + 2].weight /= factors.reshape(shape)
            x = x + block(x)
    return module


def exported(module, path):
    images, _ = digits()
    names = [str(digit) for digit in range(10)]
    example = {"pixel_values": images[:2]}
    return export_module(module, task=TASK, example=example, path=path, labels=names)


def quantized(source, path, *, ranges_of=None, per_channel=True):
    """Static, minmax, in the types that don't saturate on this CPU."""
    selection = select(load_graph(source), method="static")
    origin = ranges_of or source
    tensors = activations(load_graph(origin), selection)
    observed = observe(origin, tensors, batches=calibration(), methods=("minmax",))
    return quantize_static(
        source,
        path=path,
        selection=selection,
        ranges=observed.ranges("minmax"),
        integers=integers_for(this_cpu().target, method="static")[0],
        per_channel=per_channel,
    )


def scores(path):
    images, _ = digits()
    return run(session(path, threads=1), {"pixel_values": images[TRAINED:]})["logits"]


def accuracy(path):
    _, labels = digits()
    return float((scores(path).argmax(-1) == labels[TRAINED:].numpy()).mean())


def error(path, source):
    """Squared error of the scores, as a part of their square."""
    wanted = scores(source)
    return float(np.square(scores(path) - wanted).sum() / np.square(wanted).sum())
