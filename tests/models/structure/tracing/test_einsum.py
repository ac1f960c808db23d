"""Attention that is written with `torch.einsum` loses whole heads, or says why it keeps them."""

import pytest
import torch

from compress.models.structure.cut import cut, mask
from compress.models.structure.tracing.trace import traced_groups
from compress.pruning.cost.model import CostModel, count_cost
from compress.tasks.task import task
from tests.models.structure.einsum_models import HEADS, MADE, einsums

TASK = task("text-classification")


def found(name):
    module, inputs = einsums(name)
    groups, notes = traced_groups(module, task=TASK, inputs=inputs)
    return module, inputs, groups, notes


@pytest.mark.parametrize("name", MADE)
def test_cutting_equals_masking_and_costs_what_was_predicted(name):
    module, inputs, groups, _ = found(name)
    units = [torch.arange(0, group.units, 4) for group in groups]
    smaller = cut(module, groups, units)
    with torch.no_grad():
        wanted = TASK.logits(mask(module, groups, units), inputs)
        answer = TASK.logits(smaller, inputs)
        original = TASK.logits(module, inputs)
    assert (answer - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert (original - wanted).abs().max() > 1e-2 * wanted.abs().max()
    single = {key: value[:1] for key, value in inputs.items()}
    predicted = CostModel(module, groups, task=TASK, inputs=single).predict(
        [len(gone) for gone in units]
    )
    assert predicted == count_cost(smaller, task=TASK, inputs=single)


@pytest.mark.parametrize("name", ["layers", "heads first"])
def test_a_head_goes_from_all_layers_that_make_or_read_it(name):
    _, _, groups, _ = found(name)
    heads = next(group for group in groups if group.name == "query")
    assert heads.units == HEADS
    cuts = {(part.module, part.tensor, part.dim) for part in heads.slices if part.tensor != "bias"}
    made = {(layer, "weight", 0) for layer in ("query", "key", "value")}
    assert cuts == {*made, ("output", "weight", 1)}


def test_weights_that_are_multiplied_by_einsum_keep_their_size_with_the_reason():
    _, _, groups, notes = found("weights")
    assert [group.name for group in groups] == ["up"]
    assert "(Weights) uses its 'query' on them by Bmm, which isn't a known layer's" in notes[0]


def test_heads_whose_number_the_code_names_are_left_alone_with_the_reason():
    _, _, groups, notes = found("numbered")
    assert [group.name for group in groups] == ["embed", "up"]
    assert "left alone, as the model's code computes with their number: query." in notes
