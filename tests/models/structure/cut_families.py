"""Families that lost some units, and their files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.exporting.to_onnx import export_module
from compress.models.structure.cut import cut
from compress.models.structure.groups import Group
from compress.models.structure.transformers.groups import family_groups, prunable
from compress.onnx_graph.files import load_graph
from tests.models.structure.family_models import MODELS, family_model

ONE_EACH = list({name.split(",")[0]: name for name in reversed(MODELS)}.values())
SAME_CODE = {
    "camembert": "roberta",
    "xlm-roberta": "roberta",
    "electra": "bert",
    "deit": "vit",
    "mistral": "llama",
    "qwen2": "qwen3",
}
"""Families whose modules transformers copies or generates from those of another one."""
EXPORTED = [name for name in ONE_EACH if name not in SAME_CODE]


def units_of(name):
    """What a model of `MODELS` can lose."""
    can = prunable(name.split(",")[0])
    answered = ["hidden"] if MODELS[name][2] == "feature-extraction" else []
    return [unit for unit in can if can[unit] is None and unit not in answered]


def some_of(groups):
    """A third of each group's units, at least one, drawn at random."""
    torch.manual_seed(2)
    return [torch.randperm(group.units)[: max(1, group.units // 3)] for group in groups]


def unlike(groups, gone):
    """The same, but that of each kind the first group alone loses all of its units in `gone`."""
    first = {group.kind: number for number, group in reversed(list(enumerate(groups)))}
    return [
        units[0 if number == first[group.kind] else 1 :]
        for number, (group, units) in enumerate(zip(groups, gone, strict=True))
    ]


def answers(module, inputs, task):
    with torch.no_grad():
        return task.logits(module, inputs)


def one_sample(path, inputs):
    """Arrays for all inputs of a graph: positions from 0, and an empty cache."""
    arrays = {name: value[:1].numpy() for name, value in inputs.items()}
    for given_input in load_graph(path).inputs.values():
        sizes = [dim.dim_value for dim in given_input.type.tensor_type.shape.dim]
        if given_input.name == "position_ids":
            arrays["position_ids"] = np.arange(arrays["input_ids"].shape[1])[None]
        elif given_input.name not in arrays:
            arrays[given_input.name] = np.zeros((1, sizes[1], 0, sizes[3]), np.float32)
    return arrays


@dataclass(frozen=True)
class CutFamily:
    """A family's model, and the smaller one without the units `gone` of its groups."""

    module: nn.Module
    groups: list[Group]
    gone: list[Tensor]
    smaller: nn.Module
    inputs: dict[str, Tensor]
    task: Any


def layers_of(name):
    """One, but of an encoder and a decoder two, which then differ in their widths, and of T5, whose
    layers share a bias."""
    return 2 if name in ("bert", "gpt2", "t5") else 1


def cut_family(name):
    """A family of `EXPORTED` that has lost all kinds of units that it can lose."""
    module, _, inputs, task = family_model(name, layers=layers_of(name))
    groups = family_groups(module, units=units_of(name))
    gone = unlike(groups, some_of(groups))
    return CutFamily(module, groups, gone, cut(module, groups, gone), inputs, task)


def whole_family(name):
    """A family of `TRACED`, which loses nothing."""
    module, _, inputs, task = family_model(name, layers=1)
    return CutFamily(module, [], [], module, inputs, task)


def exported_family(name, family, exported_once) -> Path:
    """The file of what `cut_family` or `whole_family` made, once for all tests."""

    def export(path):
        export_module(
            family.smaller, task=family.task, example=family.inputs, path=path, labels=("a", "b")
        )

    return exported_once(f"family {name}", export)
