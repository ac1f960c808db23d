"""Criteria that read samples."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compress.errors import StageError
from compress.models.structure.find import find_groups
from compress.models.structure.groups import Group, Slice, block_index
from compress.models.structure.transformers.groups import prunable
from compress.pruning.importance.gradients import hessian, taylor
from compress.pruning.importance.scores import scores
from compress.tasks.task import task
from tests.models.structure.family_models import MODELS, example, family_model
from tests.models.structure.traced_models import BUILT, built
from tests.pruning.importance.models import (
    IMAGE,
    assert_same_state,
    batches,
    cross_entropy,
    network,
    neurons,
    state,
)

BY_DATA = ["taylor", "hessian", "activation"]
UNITS = ("heads", "feed_forward", "hidden")


def rated(module, groups, criterion, data, *, task=IMAGE, loss=cross_entropy):
    return scores(module, groups, criterion=criterion, seed=0, task=task, batches=data, loss=loss)


def summed_logits(of_task):
    """A loss for any task: the mean over samples of a nonlinear function of the real tokens."""

    def loss(module, batch):
        answer = of_task.logits(module, batch)
        if answer.dim() == 3:
            whole = torch.ones(answer.shape[:2])  # images have no mask
            mask = batch.get("attention_mask", whole)[:, :, None]
            answer = (answer * mask).sum(1) / mask.sum(1)
        return answer.logsumexp(-1).mean()

    return loss


def changed(module, unit, fraction):
    """A copy whose unit's weights are all smaller by a fraction."""
    smaller = copy.deepcopy(module)
    with torch.no_grad():
        smaller[0].weight[unit] *= 1 - fraction
        smaller[0].bias[unit] *= 1 - fraction
        smaller[2].weight[:, unit] *= 1 - fraction
    return smaller


def test_taylor_is_the_change_of_each_samples_loss_to_first_order():
    module, data = network().double(), batches(5)
    data[0]["x"] = data[0]["x"].double()
    (found,) = taylor(module, [neurons()], batches=data, loss=cross_entropy)
    step, squares = 1e-6, torch.zeros(6, dtype=torch.float64)
    for unit in range(6):
        for place in range(5):
            sample = {name: value[place : place + 1] for name, value in data[0].items()}
            less, more = (
                cross_entropy(changed(module, unit, change), sample) for change in (step, -step)
            )
            squares[unit] += ((less - more) / (2 * step)).detach() ** 2 / 5
    torch.testing.assert_close(found, squares.sqrt(), rtol=1e-6, atol=1e-9)


def test_taylor_sees_samples_whose_gradients_cancel():
    module = nn.Sequential(nn.Linear(1, 2), nn.Identity(), nn.Linear(2, 1))
    data = [{"x": torch.tensor([[1.0], [-1.0]])}]
    for part in (module[0], module[2]):
        nn.init.zeros_(part.bias)
    with torch.no_grad():
        module[2].weight[0, 1] = 0

    def loss(module, batch):
        return module(batch["x"]).mean()

    (found,) = taylor(module, [neurons(2)], batches=data, loss=loss)
    product = module[0].weight[0, 0] * module[2].weight[0, 0]
    assert found[0] == pytest.approx(2 * abs(product.item()), rel=1e-6)
    assert found[1] == 0


def test_hessian_of_a_linear_model_by_hand():
    layer = nn.Linear(3, 1, bias=False).double()
    group = Group("", "channels", 3, (Slice("", "weight", 1, block_index(3, 1)),))
    values = torch.tensor([[1.0, 2.0, 0.0], [3.0, -1.0, 0.0]], dtype=torch.float64)

    def loss(module, batch):
        return module(batch["x"]).mean()

    (found,) = hessian(layer, [group], batches=[{"x": values}], loss=loss)
    wanted = values.square().mean(0) * layer.weight.detach()[0].square() / 2
    torch.testing.assert_close(found, wanted)


def test_hessian_is_the_rise_of_the_loss_where_its_labels_are_the_models_own():
    """Softmax regression: the Fisher information is the Hessian of the expected loss."""
    torch.manual_seed(0)
    layer = nn.Linear(4, 3, bias=False).double()
    values = torch.randn(3000, 4, dtype=torch.float64)
    labels = torch.distributions.Categorical(logits=layer(values)).sample()
    group = Group("", "channels", 3, (Slice("", "weight", 0, block_index(3, 1)),))
    data = [{"x": values, "labels": labels}]
    (found,) = hessian(layer, [group], batches=data, loss=cross_entropy)
    weight = layer.weight.detach()
    exact = torch.func.hessian(
        lambda w: F.cross_entropy(values @ w.T, labels)  # the labels drop out of its curvature
    )(weight)
    diagonal = torch.einsum("abab->ab", exact)
    torch.testing.assert_close(found, (diagonal * weight**2).sum(1) / 2, rtol=0.1, atol=0)


def test_scores_by_gradient_are_relative_to_the_group():
    module, data = network(), batches(4)
    (raw,) = taylor(module, [neurons()], batches=data, loss=cross_entropy)
    (found,) = rated(module, [neurons()], "taylor", data)
    torch.testing.assert_close(found, raw / raw.mean())


@pytest.mark.parametrize("criterion", BY_DATA)
@pytest.mark.parametrize("size", [1, 3])
def test_batches_make_no_difference(criterion, size):
    module, groups = network(), [neurons()]
    whole, parts = (
        rated(module, groups, criterion, batches(8, size=each))[0] for each in (8, size)
    )
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-9)


def without_padding(batch):
    """Each sample alone, at its own length."""
    for place, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        yield {name: value[place : place + 1, :length] for name, value in batch.items()}


@pytest.mark.parametrize("criterion", BY_DATA)
@pytest.mark.parametrize("name", ["bert", "bert, tokens", "qwen2", "gpt2, classes"])
def test_padding_makes_no_difference(name, criterion):
    module, _, inputs, task = family_model(name)
    groups = find_groups(module, task=task, inputs=inputs, units=UNITS).groups
    before = state(module)
    padded, alone = (
        rated(module, groups, criterion, data, task=task, loss=summed_logits(task))
        for data in ([inputs], without_padding(inputs))
    )
    assert_same_state(module, before)
    for group, one, other in zip(groups, padded, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6, msg=group.name)
        assert len(set(one.tolist())) == group.units


@pytest.mark.parametrize("criterion", BY_DATA)
@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_family_can_be_ranked(name, criterion):
    module, _, inputs, task = family_model(name)
    units = [unit for unit in UNITS if unit != "hidden" or hidden_can_go(name, task)]
    groups = find_groups(module, task=task, inputs=inputs, units=units).groups
    found = rated(module, groups, criterion, [inputs], task=task, loss=summed_logits(task))
    for group, each in zip(groups, found, strict=True):
        assert each.shape == (group.units,)
        assert (each > 0).double().mean() > 0.3, group.name  # some have ReLUs that never fire


def hidden_can_go(name, task):
    can = prunable(name.split(",")[0])["hidden"] is None
    return can and name != "swin" and task.name != "feature-extraction"


def test_activation_of_neurons_by_hand():
    module, data = network(), batches(5, size=2)
    (found,) = rated(module, [neurons()], "activation", data)
    values = torch.cat([batch["x"] for batch in data])
    wanted = module[1](module[0](values)).abs().double().mean(0).detach()
    torch.testing.assert_close(found, wanted / wanted.mean())


def test_activation_of_heads_by_hand():
    """Units of two elements: the norm over them, averaged over samples."""
    module = network(6)
    (found,) = rated(module, [neurons(3, kind="heads", width=2)], "activation", batches(5))
    hidden = module[1](module[0](batches(5)[0]["x"])).reshape(5, 3, 2)
    wanted = hidden.norm(dim=2).double().mean(0).detach()
    torch.testing.assert_close(found, wanted / wanted.mean())


def test_activation_of_channels_by_hand():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 2), nn.Flatten())
    index = block_index(4, 1)
    group = Group(
        "0", "channels", 4, (Slice("0", "weight", 0, index), Slice("2", "weight", 1, index))
    )
    images = torch.randn(3, 1, 5, 5)
    (found,) = rated(module, [group], "activation", [{"pixel_values": images}])
    wanted = module[:2](images).double().mean(dim=(0, 2, 3)).detach()
    torch.testing.assert_close(found, wanted / wanted.mean())


def test_activation_read_by_a_convolution_in_groups_by_hand():
    module, inputs = built("grouped")
    groups = find_groups(module, task=IMAGE, inputs=inputs, units=None).groups
    (group,) = (group for group in groups if group.name == "narrow")
    assert group.units == 4
    (found,) = rated(module, [group], "activation", [inputs])
    read = []
    module.grouped.register_forward_pre_hook(lambda part, given: read.append(given[0]))
    with torch.no_grad():
        module(**{"images": inputs["pixel_values"]})
    # A unit is the same channel of each of the convolution's four groups.
    wanted = read[0].double().reshape(2, 4, 4, -1).mean(dim=(0, 1, 3))
    torch.testing.assert_close(found, wanted / wanted.mean())


@pytest.mark.parametrize("criterion", BY_DATA)
@pytest.mark.parametrize("name", sorted(BUILT))
def test_every_traced_module_can_be_ranked(name, criterion):
    module, inputs = built(name)
    before = state(module)
    groups = find_groups(module, task=IMAGE, inputs=inputs, units=None).groups
    found = rated(module, groups, criterion, [inputs], loss=summed_logits(IMAGE))
    assert_same_state(module, before)
    for group, each in zip(groups, found, strict=True):
        assert each.shape == (group.units,)
        assert (each >= 0).all()
        assert len(set(each.tolist())) > 1, group.name


def test_activation_of_hidden_units_is_that_of_the_normalisations():
    module, _, inputs, task = family_model("vit")
    groups = find_groups(module, task=task, inputs=inputs, units=["hidden"]).groups
    (found,) = rated(module, groups, "activation", [inputs], task=task)
    outputs = []
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            part.register_forward_hook(lambda part, given, made: outputs.append(made))
    with torch.no_grad():
        task.logits(module, inputs)
    assert len(outputs) == 5
    wanted = torch.stack([made.double().abs().mean(dim=(0, 1)) for made in outputs]).mean(0)
    torch.testing.assert_close(found, wanted / wanted.mean())


def test_activation_refuses_what_no_layer_reads():
    module, _, inputs, task = family_model("bert")
    groups = find_groups(module, task=task, inputs=inputs, units=["head_width"]).groups
    with pytest.raises(StageError, match=r"can't rank .*layer\.0.*head_width: a place within"):
        rated(module, groups, "activation", [inputs], task=task)
    unread = Group("0", "channels", 6, neurons().slices[:2])
    with pytest.raises(StageError, match="can't rank 0: no layer that reads"):
        rated(network(), [unread], "activation", batches())


def test_a_loss_that_is_no_number_or_reads_no_weight_is_refused():
    module, groups = network(), [neurons()]
    data = batches(2)
    data[0]["labels"][1] = -100
    with pytest.raises(StageError, match="the loss of one sample is nan"):
        rated(module, groups, "taylor", data)
    with pytest.raises(StageError, match="doesn't depend"):
        rated(module, groups, "taylor", data, loss=lambda module, batch: batch["x"].mean())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_an_error_leaves_no_hook():
    module, before = network(), state(network())
    with pytest.raises(RuntimeError):
        rated(module, [neurons()], "activation", batches(read=5))
    assert_same_state(module, before)


def test_the_example_is_padded():
    """What the tests above rest on."""
    assert example("text-classification")["attention_mask"].sum(1).tolist() == [10, 7]
    assert task("token-classification").target == "token-class"
