import pytest
import torch
from torch import nn

from compress.errors import ModelError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.low_rank import (
    LowRankLayer,
    fill,
    is_splittable,
    low_rank_layer,
    matrix,
    product,
    put_low_rank,
)
from compress.models.resnet import resnet
from compress.models.source import (
    LowRankSource,
    PythonSource,
    TransformersSource,
    source_from_dict,
)
from compress.models.weights.weightless import without_weights

RESNET = PythonSource("compress.models.resnet:resnet", {"blocks": [1], "width": 8})


def factors(part):
    u, s, vh = torch.linalg.svd(matrix(part), full_matrices=False)
    return u * s, vh


@pytest.mark.parametrize(
    "part",
    [
        nn.Linear(6, 4),
        nn.Linear(4, 6, bias=False),
        nn.Conv2d(3, 5, 3, stride=2, padding=1, dilation=2),
        nn.Conv2d(3, 5, (1, 3), padding=(0, 1), padding_mode="circular", bias=False),
        nn.Conv2d(6, 4, 1),
    ],
)
def test_with_all_its_rank_a_layer_answers_as_before(part):
    if isinstance(part, nn.Linear):
        values = torch.rand(2, 7, part.in_features)
    else:
        values = torch.rand(2, part.in_channels, 8, 8)
    made = low_rank_layer(part, min(matrix(part).shape))
    fill(made, *factors(part))
    torch.testing.assert_close(made(values), part(values), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(product(made), matrix(part), atol=1e-5, rtol=1e-5)
    assert made.expand.bias is part.bias
    assert made.reduce.bias is None


def test_conv1d_of_transformers_is_linear():
    from transformers.pytorch_utils import Conv1D

    part = Conv1D(5, 8)
    made = low_rank_layer(part, 5)
    fill(made, *factors(part))
    values = torch.rand(2, 3, 8)
    torch.testing.assert_close(made(values), part(values), atol=1e-5, rtol=1e-5)


def test_frozen_weights_stay_frozen():
    part = nn.Linear(6, 4)
    part.weight.requires_grad_(False)
    made = low_rank_layer(part, 2)
    trained = {name for name, p in made.named_parameters() if p.requires_grad}
    assert trained == {"expand.bias"}


@pytest.mark.parametrize(
    "part",
    [
        nn.Conv2d(4, 4, 3, groups=2),
        nn.ConvTranspose2d(4, 4, 3),
        nn.Conv1d(4, 4, 3),
        nn.Embedding(4, 4),
        type("Own", (nn.Linear,), {})(4, 4),
    ],
)
def test_other_kinds_are_refused(part):
    assert not is_splittable(part)
    with pytest.raises(ModelError, match=r"Linear, Conv2d in one group, or Conv1D\. Got"):
        low_rank_layer(part, 1)


@pytest.mark.parametrize("rank", [0, 5])
def test_ranks_that_a_matrix_cannot_have_are_refused(rank):
    with pytest.raises(ModelError, match=f"'rank' must be from 1 to 4. Got {rank}"):
        low_rank_layer(nn.Linear(6, 4), rank)


def test_a_layer_under_two_names_is_replaced_in_both():
    shared = nn.Linear(8, 8)
    module = put_low_rank(nn.ModuleDict({"a": shared, "b": shared}), {"a": 2})
    assert module["a"] is module["b"]
    assert isinstance(module["a"], LowRankLayer)


@pytest.mark.parametrize("path", ["", "decoder", "conv1.weight"])
def test_a_layer_that_is_not_there_is_an_error(path):
    with pytest.raises(ModelError, match=f"has no layer '{path}' to split"):
        put_low_rank(resnet(blocks=(1,)), {path: 2})


def test_its_type_can_be_asked_but_its_weight_cannot_be_multiplied_with():
    made = low_rank_layer(nn.Linear(6, 6).double(), 2)
    assert made.weight.dtype == torch.float64
    with pytest.raises(RuntimeError, match="shape"):
        nn.functional.linear(torch.rand(1, 6).double(), made.weight)


def test_a_source_of_sources_builds_and_survives_json():
    paths = [name for name, part in RESNET.build().named_modules() if type(part) is nn.Conv2d]
    source = LowRankSource(LowRankSource(RESNET, {paths[1]: 2}), {paths[2]: 3})
    again = source_from_dict(source.to_dict())
    assert again == source
    assert again.ranks == {paths[2]: 3}
    module = again.build()
    assert not module.training
    assert [module.get_submodule(path).rank for path in paths[1:3]] == [2, 3]


def test_a_source_builds_without_weights(tiny_bert):
    ranks = {"bert.pooler.dense": 2}
    with without_weights():
        built = LowRankSource(TransformersSource.of(tiny_bert), ranks).build()
    layer = built.get_submodule("bert.pooler.dense")
    assert (layer.rank, layer.reduce.weight.device.type) == (2, "meta")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ranks": {}}, "it needs base, ranks"),
        ({"base": "x", "ranks": {}}, "it needs base, ranks"),
        ({"base": RESNET.to_dict(), "ranks": {"conv1": "2"}}, "ranks are numbers"),
        ({"base": {"kind": "pickle"}, "ranks": {}}, "unknown kind of model source 'pickle'"),
    ],
)
def test_damaged_sources_are_refused(values, said):
    with pytest.raises(ModelError, match=said):
        source_from_dict({"kind": "low-rank", **values})


@pytest.mark.parametrize("kind", ["bert", "resnet"])
def test_a_low_rank_model_is_stored_and_loaded(kind, tiny_bert, tmp_path):
    if kind == "bert":
        module, base = tiny_bert, TransformersSource.of(tiny_bert)
        ranks = {"bert.encoder.layer.1.attention.self.query": 3, "bert.pooler.dense": 2}
        values = torch.randint(5, 50, (2, 7))
    else:
        module, base = RESNET.build(), RESNET
        ranks = {"stages.0.0.conv1": 3}
        values = torch.rand(2, 1, 8, 8)
    put_low_rank(module, ranks).eval()
    source = LowRankSource(base, ranks)
    save_checkpoint(module, source, tmp_path / "stored")
    again, found = load_checkpoint(tmp_path / "stored")
    assert found == source
    with torch.no_grad():
        answers = [made(values) for made in (module, again)]
    first, second = (getattr(answer, "logits", answer) for answer in answers)
    assert torch.equal(first, second)
    with pytest.raises(ModelError, match="submodules differ"):
        save_checkpoint(module, base, tmp_path / "other")


def test_a_layer_that_was_narrowed_afterwards_keeps_its_shape(tmp_path):
    ranks = {"stages.0.0.conv1": 4}
    source = LowRankSource(RESNET, ranks)
    module = source.build()
    layer = module.get_submodule("stages.0.0.conv1")
    layer.reduce.weight = nn.Parameter(layer.reduce.weight[:2].detach().clone())
    layer.expand.weight = nn.Parameter(layer.expand.weight[:, :2].detach().clone())
    layer.reduce.out_channels = layer.expand.in_channels = 2
    save_checkpoint(module, source, tmp_path / "stored")
    again, _ = load_checkpoint(tmp_path / "stored")
    images = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(again(images), module(images), rtol=1e-5, atol=1e-6)
    assert again.get_submodule("stages.0.0.conv1").rank == 2
