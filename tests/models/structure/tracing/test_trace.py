"""Structures that nobody has described are followed channel by channel."""

import numpy as np
import onnx
import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from compress.errors import StageError
from compress.exporting.parity.compare import module_answers, onnx_answers
from compress.exporting.to_onnx import export_module
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.source import PythonSource
from compress.models.structure.cut import cut, mask
from compress.models.structure.tracing.trace import traced_groups
from compress.pruning.cost.model import CostModel, count_cost
from compress.pruning.options import CutOptions, Target
from compress.pruning.prune import prune
from tests.models.structure.small_models import IMAGE, TEXT
from tests.models.structure.traced_models import BUILT, built

NAMES = list(BUILT)
OUTPUT = "left alone, as they make the model's output: {}."
STAYS = {"mixer": ["tokens_down.bias"], "dense": ["norms.0.weight", "norms.0.bias"]}
"""What follows the channels of the image."""
LAST = {"resnet": "classifier.1", "mobilenet_v2": "classifier", "convnext": "classifier"}


def task_of(name):
    return TEXT if name == "reader" else IMAGE


def third(groups):
    """About a third of each group's units."""
    torch.manual_seed(1)
    return [torch.randperm(g.units)[: max(1, g.units // 3)] for g in groups]


def found(name):
    module, inputs = built(name)
    groups, notes = traced_groups(module, task=task_of(name), inputs=inputs)
    return module, inputs, groups, notes


@pytest.mark.parametrize("name", NAMES)
def test_cutting_equals_masking_and_costs_what_was_predicted(name):
    module, inputs, groups, _ = found(name)
    task, units = task_of(name), third(groups)
    smaller = cut(module, groups, units)
    with torch.no_grad():
        wanted = task.logits(mask(module, groups, units), inputs)
        answer = task.logits(smaller, inputs)
        original = task.logits(module, inputs)
    scale = wanted.abs().max()
    assert (answer - wanted).abs().max() <= 1e-4 * scale
    assert (original - wanted).abs().max() > 1e-2 * scale
    single = {key: value[:1] for key, value in inputs.items()}
    predicted = CostModel(module, groups, task=task, inputs=single).predict(
        [len(gone) for gone in units]
    )
    counted = count_cost(smaller, task=task, inputs=single)
    assert (
        predicted.params
        == counted.params
        < 0.9 * count_cost(module, task=task, inputs=single).params
    )
    if name in CHEAPER:
        assert predicted.macs > counted.macs
    else:
        assert predicted.macs == counted.macs


CHEAPER = {"mixer"}
"""Linear layers that are run once a channel cost less than is predicted."""


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_but_the_last_is_cut(name):
    module, _, groups, notes = found(name)
    assert notes[-1] == OUTPUT.format(LAST.get(name, "out"))
    if name == "mixer":  # it mixes the rows of the image
        assert notes[0] == "left alone, as the model's inputs have as many: tokens_down."
    assert len(notes) == (2 if name == "mixer" else 1)
    cuts = {(part.module, part.tensor) for group in groups for part in group.slices}
    whole = {
        f"{path}.{tensor}".strip(".")
        for path, part in module.named_modules()
        for tensor, _ in part.named_parameters(recurse=False)
        if (path, tensor) not in cuts
    }
    last = LAST.get(name, "out")
    stays = {f"{last}.bias", *STAYS.get(name, ())}
    assert whole == stays


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_hold_what_was_cut(name, tmp_path):
    module, inputs, groups, _ = found(name)
    smaller = cut(module, groups, third(groups))
    source = PythonSource(f"{BUILT[name].__module__}:{BUILT[name].__name__}", {})
    save_checkpoint(smaller, source, tmp_path)
    rebuilt, _ = load_checkpoint(tmp_path)
    task = task_of(name)
    with torch.no_grad():
        answers, again = task.logits(smaller, inputs), task.logits(rebuilt, inputs)
    # Weights that lie elsewhere in memory may be multiplied by another kernel.
    torch.testing.assert_close(again, answers, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(rebuilt.state_dict(), smaller.state_dict(), rtol=0, atol=0)
    assert str(rebuilt) == str(smaller)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet", "convnext", "grouped", "upwards"])
def test_exports_have_exactly_the_pruned_shapes(name, tmp_path):
    module, inputs, groups, _ = found(name)
    smaller = cut(module, groups, third(groups))
    path = export_module(
        smaller, task=IMAGE, example=inputs, path=tmp_path / "m.onnx", labels=["a", "b", "c"]
    )
    batch = {key: torch.rand(3, *value.shape[1:]) for key, value in inputs.items()}
    wanted = module_answers(smaller, task=IMAGE)(batch)
    given = onnx_answers(path)(batch)
    np.testing.assert_allclose(given, wanted, atol=1e-4 * np.abs(wanted).max())
    exported = {tuple(each.dims) for each in onnx.load(path).graph.initializer}
    weights = {part.weight for part in smaller.modules() if isinstance(part, nn.Conv2d | nn.Linear)}
    for weight in weights:
        shape = tuple(weight.shape)
        assert shape in exported or shape[::-1] in exported


def test_grouped_convolutions_stay_equally_wide():
    module, _, groups, _ = found("grouped")
    units = {group.name: group.units for group in groups}
    assert units == {"stem": 12, "narrow": 4, "grouped": 6}
    narrow = next(group for group in groups if group.name == "narrow")
    rows = next(part for part in narrow.slices if part.tensor == "weight" and part.dim == 0)
    assert rows.index.tolist() == [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]
    gone = [torch.tensor({"stem": [0], "narrow": [1], "grouped": [2, 5]}[g.name]) for g in groups]
    layer = cut(module, groups, gone).grouped
    assert (layer.groups, layer.in_channels, layer.out_channels) == (4, 12, 16)
    assert layer.weight.shape == (16, 3, 3, 3)


def test_transposed_and_depthwise_convolutions_tell_their_channels():
    module, _, groups, _ = found("upwards")
    smaller = cut(module, groups, [torch.tensor([0]) for _ in groups])
    layers = (smaller.up, smaller.grouped, smaller.deep)
    told = [(part.groups, part.in_channels, part.out_channels) for part in layers]
    assert told == [(1, 7, 10), (2, 10, 6), (6, 6, 6)]
    assert [tuple(part.weight.shape[:2]) for part in layers] == [(7, 10), (10, 3), (6, 1)]


def test_normalisations_tell_their_channels():
    module, _, groups, _ = found("group norms")
    smaller = cut(module, groups, [torch.tensor([0]) for _ in groups])
    assert (smaller.four.num_groups, smaller.four.num_channels) == (4, 12)
    assert (smaller.each.num_groups, smaller.each.num_channels) == (7, 7)
    assert smaller.instance.num_features == 7
    module, _, groups, _ = found("convnext")
    smaller = cut(module, groups, [torch.tensor([1, 2]) for _ in groups])
    layer = smaller.convnext.encoder.stages[0].layers[0]
    assert layer.layernorm.normalized_shape == layer.layer_scale_parameter.shape == (6,)
    assert (layer.dwconv.groups, layer.pwconv1.out_features) == (6, 30)


def test_branches_have_disjoint_parts_of_what_reads_them_both():
    _, _, groups, _ = found("dense")
    parts = [
        part.index.flatten().tolist()
        for group in groups
        for part in group.slices
        if (part.module, part.tensor) == ("out", "weight")
    ]
    assert parts == [[*range(1, 9)], [*range(9, 15)], [*range(15, 19)]]  # 0 is the image itself


def test_flattened_images_lose_all_places_of_a_channel():
    _, _, groups, _ = found("plain")
    flat = next(p for g in groups for p in g.slices if (p.module, p.dim) == ("hidden", 1))
    assert flat.index[3].tolist() == [*range(48, 64)]
    _, _, groups, _ = found("halves")
    flat = next(p for g in groups for p in g.slices if (p.module, p.dim) == ("hidden", 1))
    assert flat.index[1].tolist() == [*range(1, 54, 6)]  # channels last


class Oddities(nn.Module):
    """One layer each for what can't be followed."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first = nn.Conv2d(1, 12, 3, padding=1)
        self.own = nn.Parameter(torch.randn(12, 12))
        self.multiplier = nn.Conv2d(12, 24, 1, groups=12)
        self.pair = nn.GroupNorm(2, 16)
        self.second = nn.LazyConv2d(8, 1)
        self.out = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = getattr(self, self.kind)(self.first(images))
        answer: Tensor = self.out(self.second(hidden).mean((2, 3)))
        return answer

    def softmax(self, hidden: Tensor) -> Tensor:
        return hidden.softmax(1)

    def average(self, hidden: Tensor) -> Tensor:
        return hidden * hidden.mean(1, keepdim=True)

    def parts(self, hidden: Tensor) -> Tensor:
        return hidden.split([4, 8], dim=1)[1]

    def named(self, hidden: Tensor) -> Tensor:
        return hidden[:, 1:]

    def picked(self, hidden: Tensor) -> Tensor:
        return hidden[:, torch.arange(11, -1, -1)]

    def padded(self, hidden: Tensor) -> Tensor:
        return functional.pad(hidden, (0, 0, 0, 0, 0, 4))

    def linear(self, hidden: Tensor) -> Tensor:
        return (hidden.movedim(1, -1) @ self.own).movedim(-1, 1)

    def depthwise(self, hidden: Tensor) -> Tensor:
        return self.multiplier(hidden)

    def uneven(self, hidden: Tensor) -> Tensor:
        return self.pair(torch.cat([hidden, hidden.new_ones(1).expand_as(hidden[:, :4])], 1))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("softmax", "Softmax runs over them"),
        ("average", "Mean runs over them"),
        ("parts", "they are split into parts of different widths"),
        ("named", "a slice names some of them"),
        ("picked", "indexing picks some of them, or changes their order"),
        ("padded", "ConstantPadNd changes their number"),
        (
            "linear",
            "the model (Oddities) uses its 'own' on them by Mm, which isn't a known layer's",
        ),
        ("depthwise", "Conv2d multiplier has 12 groups of channels, which can't all lose equally"),
        ("uneven", "GroupNorm pair has 2 groups of channels, which can't all lose equally many"),
    ],
)
def test_what_mixes_channels_is_left_alone_with_the_reason(kind, reason):
    inputs = {"pixel_values": torch.rand(2, 1, 6, 6)}
    module = Oddities(kind).eval()
    module(inputs["pixel_values"])
    groups, notes = traced_groups(module, task=IMAGE, inputs=inputs)
    names = [group.name for group in groups]
    assert "first" not in names
    assert "second" in names
    assert any(note.startswith(f"left alone, as {reason}") and "first" in note for note in notes)
    units = third(groups)
    with torch.no_grad():
        answer = cut(module, groups, units)(inputs["pixel_values"])
        wanted = mask(module, groups, units)(inputs["pixel_values"])
    torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-6)


class Names(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 16, 3), nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.out(self.conv(images).view(-1, 16, 36).mean(2))
        return answer


def test_a_forward_that_names_all_sizes_is_refused():
    said = r"Names has no channels .* left alone, as the model's code names their number: conv\."
    with pytest.raises(StageError, match=said):
        prune(
            Names().eval(),
            CutOptions(target=Target(params=0.5)),
            example_inputs={"pixel_values": torch.rand(2, 1, 8, 8)},
            task=IMAGE,
        )


class NamesOne(nn.Module):
    """The code names the number of the second layer's channels; nobody reads what `pool` makes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 12, 3), nn.Conv2d(12, 16, 3)
        self.pool, self.out = nn.Linear(12, 5), nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.first(images).relu()
        self.pool(hidden.mean((2, 3)))
        answer: Tensor = self.out(self.second(hidden).view(-1, 16, 16).mean(2))
        return answer


def test_units_whose_number_the_code_names_stay_and_the_rest_is_cut():
    torch.manual_seed(0)
    module, inputs = NamesOne().eval(), {"pixel_values": torch.rand(2, 1, 8, 8)}
    made = prune(module, CutOptions(target=Target(macs=0.5)), example_inputs=inputs, task=IMAGE)
    assert "left alone, as the model's code names their number: second." in made.notes
    assert made.module.first.out_channels == made.module.pool.in_features == 6
    assert made.module.second.out_channels == 16


def test_segformer_keeps_the_widths_that_its_code_names():
    config = transformers.SegformerConfig(
        depths=[1, 1],
        num_encoder_blocks=2,
        hidden_sizes=[16, 32],
        num_attention_heads=[2, 4],
        sr_ratios=[2, 1],
        patch_sizes=[7, 3],
        strides=[4, 2],
        mlp_ratios=[2, 2],
        num_labels=3,
    )
    torch.manual_seed(0)
    module = transformers.SegformerForImageClassification(config).eval()
    inputs = {"pixel_values": torch.rand(2, 3, 32, 32)}
    made = prune(module, CutOptions(target=Target(macs=0.7)), example_inputs=inputs, task=IMAGE)
    (note,) = (note for note in made.notes if "code names their number" in note)
    # The first stage's width is also that of what its keys are made of.
    assert note.endswith(
        "number: segformer.stages.0.patch_embeddings.proj, segformer.stages.0.blocks.0.attention."
        "sequence_reduction.sequence_reduction, segformer.stages.1.patch_embeddings.proj."
    )
    assert made.module.classifier.in_features == 32
    assert made.module.segformer.stages[1].blocks[0].mlp.fc1.out_features < 64
    assert made.after.macs == pytest.approx(0.7 * made.before.macs, rel=0.02)


def test_the_module_is_left_as_it_was():
    module, inputs = built("convnext")
    module.train()
    frozen = next(module.parameters()).requires_grad_(False)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    traced_groups(module, task=IMAGE, inputs=inputs)
    assert module.training
    assert not frozen.requires_grad
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert not any(value.requires_grad for value in inputs.values())


def test_what_answers_without_gradients_is_refused_by_name():
    class Detached(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).detach()

    with pytest.raises(StageError, match="Detached can't be traced: its answer has no gradient"):
        traced_groups(
            Detached(nn.Linear(4, 4)), task=IMAGE, inputs={"pixel_values": torch.rand(2, 4)}
        )
