"""The width that all layers share, and normalisations over the part of it that remains."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from compress.errors import StageError
from compress.models.structure.cut import cut, mask
from compress.models.structure.normalization import OverKept, normalizes
from compress.models.structure.transformers.groups import family_groups
from tests.models.structure.family_models import family_model

GONE = torch.tensor([30, 2, 3, 11])
KEPT = [unit for unit in range(32) if unit not in GONE.tolist()]


def cut_hidden(name):
    """(original, without the units GONE of the hidden width, groups) of a model."""
    module, _, _, _ = family_model(name)
    groups = family_groups(module, units=["hidden"])
    none = torch.tensor([], dtype=torch.long)
    return module, cut(module, groups, [GONE, *[none] * (len(groups) - 1)]), groups


def affine(norm):
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.uniform_(-2, 2)
    return norm


def test_a_layer_normalisation_over_the_kept_units_by_hand():
    norm = nn.LayerNorm(4, eps=0.5)
    norm.weight.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    norm.bias.data = torch.tensor([0.1, 0.2, 0.3, 0.4])
    over = OverKept(norm, torch.tensor([True, False, True, False]))
    # Of 1 and 5 the mean is 3 and the variance 4: (-2, 2) / sqrt(4.5).
    answer = over(torch.tensor([[1.0, 100.0, 5.0, -7.0]]))
    wanted = torch.tensor([[0.1 - 2 / 4.5**0.5, 0.0, 0.3 + 3 * 2 / 4.5**0.5, 0.0]])
    wanted[0, 1] = wanted[0, 3] = 0.0
    torch.testing.assert_close(answer, wanted)


def test_an_rms_normalisation_over_the_kept_units_by_hand():
    norm = LlamaRMSNorm(4, eps=0.5)
    norm.weight.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    over = OverKept(norm, torch.tensor([False, True, True, False]))
    # Of 3 and -4 the mean square is 12.5.
    answer = over(torch.tensor([[9.0, 3.0, -4.0, 1.0]]))
    torch.testing.assert_close(answer, torch.tensor([[0.0, 6 / 13**0.5, -12 / 13**0.5, 0.0]]))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_over_the_kept_units_it_is_the_smaller_normalisation(data):
    width = data.draw(st.integers(2, 12))
    kept = torch.tensor(data.draw(st.lists(st.booleans(), min_size=width, max_size=width)))
    kept[data.draw(st.integers(0, width - 1))] = True
    make = data.draw(st.sampled_from([nn.LayerNorm, nn.RMSNorm, LlamaRMSNorm]))
    norm, smaller = affine(make(width)), make(int(kept.sum()))
    smaller.load_state_dict({name: value[kept] for name, value in norm.state_dict().items()})
    hidden = torch.randn(3, 2, width, generator=torch.Generator().manual_seed(width))
    answer = OverKept(norm, kept)(hidden)
    torch.testing.assert_close(answer[..., kept], smaller(hidden[..., kept]), rtol=1e-4, atol=1e-4)
    assert not answer[..., ~kept].any()


def test_images_are_normalised_along_their_channels():
    norm = affine(nn.LayerNorm(6))
    norm.data_format = "channels_first"
    kept = torch.tensor([True, True, False, True, False, True])
    images = torch.randn(2, 6, 3, 5)
    answer = OverKept(norm, kept)(images)
    smaller = nn.functional.layer_norm(
        images[:, kept].movedim(1, -1), (4,), norm.weight[kept], norm.bias[kept]
    )
    torch.testing.assert_close(answer[:, kept], smaller.movedim(-1, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("part", "is_one"),
    [
        (nn.LayerNorm(4), True),
        (nn.RMSNorm(4), True),
        (LlamaRMSNorm(4), True),
        (nn.BatchNorm1d(4), False),
        (nn.GroupNorm(2, 4), False),
        (nn.LayerNorm((4, 4)), False),
    ],
)
def test_which_modules_normalise_over_units(part, is_one):
    assert normalizes(part) is is_one


@pytest.mark.parametrize("name", ["bert", "gpt2", "qwen3", "t5", "deit"])
def test_every_tensor_keeps_its_units_in_their_order(name):
    module, smaller, groups = cut_hidden(name)
    before, after = dict(module.named_parameters()), dict(smaller.named_parameters())
    assert before.keys() == after.keys()
    dims = {(f"{part.module}.{part.tensor}", part.dim) for part in groups[0].slices}
    for parameter, tensor in before.items():
        for dim in range(tensor.dim()):
            if (parameter, dim) in dims:
                tensor = tensor.index_select(dim, torch.tensor(KEPT))
        assert torch.equal(after[parameter], tensor)
    # All that is as wide as the hidden units, other than heads and poolers of as many.
    assert len(dims) > 10
    norms = [
        p for n, p in after.items() if p.dim() == 1 and "norm" in n.lower() and "_norm" not in n
    ]
    assert all(len(gain) == 28 for gain in norms)


def test_layer_normalisations_know_their_width():
    _, smaller, _ = cut_hidden("bert")
    norms = [part for part in smaller.modules() if isinstance(part, nn.LayerNorm)]
    assert len(norms) == 5
    assert {part.normalized_shape for part in norms} == {(28,)}
    embeddings = smaller.bert.embeddings
    assert embeddings.word_embeddings.embedding_dim == 28
    assert embeddings.position_embeddings.weight.shape == (32, 28)
    assert smaller.bert.encoder.layer[0].attention.self.query.in_features == 28
    assert smaller.bert.encoder.layer[0].attention.self.query.out_features == 32


def test_a_pooler_has_units_of_its_own():
    module, smaller, groups = cut_hidden("roberta")
    assert [group.name for group in groups] == ["hidden", "classifier.dense"]
    assert smaller.classifier.dense.weight.shape == (32, 28)
    narrower = cut(module, groups[1:], [torch.tensor([0, 5])])
    assert narrower.classifier.dense.weight.shape == (30, 32)
    assert narrower.classifier.out_proj.weight.shape == (3, 30)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("llama", "model.embed_tokens", "lm_head"),
        ("gpt2", "transformer.wte", "lm_head"),
        ("t5", "transformer.shared", "transformer.encoder.embed_tokens"),
    ],
)
def test_tied_weights_stay_tied(name, one, other):
    module, smaller, groups = cut_hidden(name)
    for model in (module, smaller, mask(module, groups, [GONE])):
        assert model.get_submodule(one).weight is model.get_submodule(other).weight
    assert smaller.get_submodule(other).weight.shape == (40, 28)
    head = smaller.get_submodule(other)
    assert getattr(head, "in_features", getattr(head, "embedding_dim", None)) == 28


def test_embeddings_of_a_width_of_their_own_keep_it():
    _, smaller, _ = cut_hidden("electra, projected")
    assert smaller.electra.embeddings.word_embeddings.weight.shape == (40, 12)
    assert smaller.electra.embeddings.LayerNorm.normalized_shape == (12,)
    assert smaller.electra.embeddings_project.weight.shape == (28, 12)


def test_parameters_that_the_family_is_not_known_to_have_are_named():
    module, _, _, _ = family_model("bert")
    module.extra = nn.Linear(32, 2)
    with pytest.raises(
        StageError, match=r"hidden units can't be cut: .*'bert' .* have extra\.weight, extra\.bias"
    ):
        family_groups(module, units=["hidden"])
    assert family_groups(module, units=["heads"])


def test_stages_have_widths_of_their_own():
    module, _, _, _ = family_model("swin")
    groups = family_groups(module, units=["hidden"])
    assert [(group.name, group.units) for group in groups] == [("hidden.0", 16), ("hidden.1", 32)]
    smaller = cut(module, groups, [torch.tensor([1, 15]), torch.tensor([0, 4, 6])])
    old, new = module.swin.encoder.layers[0].downsample, smaller.swin.encoder.layers[0].downsample
    columns = [16 * patch + unit for patch in range(4) for unit in (0, *range(2, 15))]
    rows = [unit for unit in range(32) if unit not in (0, 4, 6)]
    assert torch.equal(new.norm.weight, old.norm.weight[columns])
    assert torch.equal(new.reduction.weight, old.reduction.weight[rows][:, columns])
    assert smaller.swin.embeddings.norm.normalized_shape == (14,)
    assert smaller.swin.encoder.layers[1].blocks[0].mlp.fc2.out_features == 29
    assert smaller.classifier.in_features == 29
