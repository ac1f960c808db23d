"""Tiny models of the families that are exported, and onnxruntime's answers to the same inputs."""

import numpy as np
import onnx
import torch
from torch import nn

from compress.exporting.to_onnx import export_module
from compress.measurement.session import run, unoptimized_session
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.graph import Graph
from compress.quantization.onnx_torch.module import GraphModule
from compress.quantization.selection import select
from compress.quantization.static import activations, quantize_static
from compress.tasks.task import TASKS
from tests.exporting import tasks

TASK_OF = {
    "inverted": "image-classification",
    "convnext": "image-classification",
    "vit": "image-classification",
    "gpt2": "text-generation",
    "llama": "text-generation",
}
SHARED = ("vit", "gpt2", "llama")
"""Those of `tests.exporting.tasks`."""


class InvertedResidual(nn.Module):
    """MobileNetV2's block, and a head: wide, by channel, narrow again."""

    def __init__(self, channels=1, width=8, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.widen = nn.Conv2d(width, 3 * width, 1)
        self.depthwise = nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width)
        self.narrow = nn.Conv2d(3 * width, width, 1)
        self.head = nn.Linear(width, classes)

    def forward(self, pixel_values):
        x = nn.functional.relu6(self.stem(pixel_values))
        wide = nn.functional.relu6(self.depthwise(nn.functional.relu6(self.widen(x))))
        return self.head((x + self.narrow(wide)).mean((2, 3)))


def module_of(family):
    if family in SHARED:
        return tasks.model_for(family)
    import transformers as hf

    torch.manual_seed(0)
    made = {
        "inverted": lambda: InvertedResidual(),
        "convnext": lambda: hf.ConvNextForImageClassification(
            hf.ConvNextConfig(
                num_channels=1, hidden_sizes=[8], depths=[1], num_stages=1, num_labels=3
            )
        ),
    }
    module = made[family]().eval()
    with torch.no_grad():  # tensors that are equal would be stored once
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def inputs_of(family, count=2, length=9):
    if TASK_OF[family] == "image-classification":
        size = 8 if family in ("inverted", "vit") else 16
        return {"pixel_values": torch.randn(count, 1, size, size)}
    ids = torch.randint(5, 60, (count, length))
    mask = torch.ones_like(ids)
    mask[-1, length // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


def exported(family, path):
    task = TASKS[TASK_OF[family]]
    example = inputs_of(family)
    return export_module(module_of(family), task=task, example=example, path=path, labels=())


def ranges_of(path, batches, selection):
    """Least and largest values over the batches."""
    model = onnx.load(path)
    names = list(activations(Graph(model), selection))
    module = GraphModule(Graph(model)).requires_grad_(False)
    seen = [module.values(list(batch.values()), names) for batch in batches]
    return {
        name: (
            min(float(values[name].min()) for values in seen),
            max(float(values[name].max()) for values in seen),
        )
        for name in names
    }


def quantized(source, path, batches, integers, *, per_channel=True):
    selection = select(load_graph(source), method="static")
    return quantize_static(
        source,
        path=path,
        selection=selection,
        ranges=ranges_of(source, batches, selection),
        integers=integers,
        per_channel=per_channel,
    )


def plain_answers(path, batch):
    """Of onnxruntime, computing each node as the graph says."""
    session = unoptimized_session(onnx.load(path), path=path)
    return next(iter(run(session, batch).values()))


def module_answers(module, batch):
    with torch.no_grad():
        return module(*batch.values()).numpy()


def tensors_of(path):
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def same_up_to_steps(got, want, *, step, share):
    """Whether all but a share of the answers are equal, and those are one step off."""
    apart = np.abs(got - want)
    return (apart > 1e-5 + 1e-5 * np.abs(want)).mean() <= share and apart.max() <= 1.01 * step
