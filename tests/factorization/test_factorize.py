from functools import partial

import onnx
import pytest
import torch
from torch import nn

from compress.errors import StageError, TargetError
from compress.exporting.parity.compare import check_parity
from compress.exporting.to_onnx import export_module
from compress.factorization import spectra
from compress.factorization.factorize import factorize, planned
from compress.factorization.options import LowRankOptions
from compress.models.low_rank import LowRankLayer
from tests.factorization.models import IMAGE, given, make


def options(**fields):
    return LowRankOptions.model_validate(fields)


def split(name, **fields):
    module, inputs, task = make(name)
    made = factorize(module, options=options(**fields), batches=[inputs], **given(inputs, task))
    return module, made


@pytest.mark.parametrize("method", ["svd", "activation"])
@pytest.mark.parametrize("name", ["bert", "gpt2", "cnn", "parts"])
def test_parameters_really_fall_and_the_module_given_stays(name, method):
    module, inputs, task = make(name)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    made = factorize(
        module,
        options=options(ratio=0.5, method=method),
        batches=[inputs],
        **given(inputs, task),
    )
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert not made.module.training
    assert made.ranks
    gone = sum(
        module.get_submodule(path).weight.numel()
        - sum(
            p.numel()
            for key, p in made.module.get_submodule(path).named_parameters()
            if key.endswith("weight")
        )
        for path in made.ranks
    )
    assert gone > 0
    assert made.before.params - made.after.params == gone
    assert made.after.params == sum(p.numel() for p in made.module.parameters())
    assert made.after.macs < made.before.macs
    for path, rank in made.ranks.items():
        assert made.module.get_submodule(path).rank == rank


@pytest.mark.parametrize("method", ["svd", "activation"])
def test_a_layer_of_low_rank_is_split_exactly(method):
    module, some, others = correlated()
    with torch.no_grad():
        module[2].weight.copy_(torch.randn(24, 3) @ torch.randn(3, 24))
    made = factorize(
        module,
        options=options(energy=1.0, layers=["2"], method=method),
        batches=[some],
        **given(some, IMAGE),
    )
    assert made.ranks == {"2": 3}
    with torch.no_grad():
        wanted = module(others["x"])
        torch.testing.assert_close(made.module(others["x"]), wanted, atol=1e-3, rtol=1e-4)
    assert (wanted.abs().max()) > 1


def test_an_energy_that_saves_nowhere_is_an_error():
    with pytest.raises(StageError, match="no layer gets smaller with an energy of 1"):
        split("bert", energy=1.0)


@pytest.mark.parametrize("quantity", ["params", "macs"])
@pytest.mark.parametrize("name", ["bert", "cnn"])
def test_targets_are_met_by_the_model_itself(name, quantity):
    _, made = split(name, target={quantity: 0.75})
    reached = getattr(made.after, quantity) / getattr(made.before, quantity)
    assert reached == pytest.approx(0.75, rel=0.021)


def test_a_target_out_of_reach_is_told_before_data_is_read():
    module, inputs, task = make("bert")

    def unread():
        raise AssertionError("read")
        yield

    with pytest.raises(TargetError, match=r"0\.\d+ of the model's params remain"):
        factorize(
            module,
            options=options(target={"params": 0.05}),
            batches=unread(),
            **given(inputs, task),
        )


def correlated():
    """A perceptron whose inputs lie near a plane of four dimensions."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU())
    module.append(nn.Linear(24, 5)).eval()
    plane = torch.randn(4, 24)
    some, others = (
        {"x": torch.randn(200, 4) @ plane + 0.05 * torch.randn(200, 24)} for _ in range(2)
    )
    return module, some, others


def test_activations_beat_weights_on_correlated_inputs():
    module, some, others = correlated()
    errors = {}
    for method in ("svd", "activation"):
        made = factorize(
            module,
            options=options(ratio=0.6, method=method),
            batches=[some],
            **given(some, IMAGE),
        )
        with torch.no_grad():
            change = made.module(others["x"]) - module(others["x"])
        errors[method] = float(change.square().mean())
    assert errors["activation"] < 0.2 * errors["svd"]


def test_effects_spare_the_layer_that_answers_depend_on():
    module, _, _ = correlated()
    some = {"x": torch.randn(200, 24)}
    with torch.no_grad():
        module[2].weight.mul_(0.01)  # beside its bias, this layer says nothing
    ranks = {}
    for method in ("svd", "activation"):
        made = factorize(
            module,
            options=options(target={"params": 0.7}, method=method),
            batches=[some],
            **given(some, IMAGE),
        )
        ranks[method] = made.ranks.get("2", 24)
        assert made.ranks.get("0", 24) > 0
    assert ranks["activation"] < 0.5 * ranks["svd"]


def test_gram_matrices_beyond_the_memory_take_more_passes(monkeypatch):
    module, inputs, task = make("cnn")
    run = partial(
        factorize, module, options=options(ratio=0.5), batches=[inputs], **given(inputs, task)
    )
    once = run()
    monkeypatch.setattr(spectra, "GRAM_BYTES", 1)
    often = run()
    for name, value in once.module.state_dict().items():
        torch.testing.assert_close(value, often.module.state_dict()[name])


def test_a_layer_that_is_given_zeros_is_split_by_its_weights():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 12), nn.Linear(12, 3)).eval()
    with torch.no_grad():
        module[0].bias.fill_(-1000.0)
    inputs = {"x": torch.rand(5, 8)}
    made = factorize(module, options=options(ratio=0.5), batches=[inputs], **given(inputs, IMAGE))
    assert any("nothing but zeros" in note and "2" in note for note in made.notes)


class ReadsWeights(nn.Module):
    """Multiplies with a layer's weight besides calling it."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(12, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, values):
        made = self.inner(values)
        return self.head(made + nn.functional.linear(values, self.inner.weight))


def test_a_model_that_reads_the_weights_itself_is_refused():
    inputs = {"x": torch.rand(5, 12)}
    with pytest.raises(StageError, match="may read their weights, so leave them out"):
        factorize(
            ReadsWeights().eval(),
            options=options(ratio=0.5, method="svd"),
            **given(inputs, IMAGE),
        )


def test_notes_tell_ranks_costs_and_errors():
    _, made = split("bert", target={"params": 0.8})
    told = "\n".join(made.notes)
    assert "rank of bert.encoder.layer.*.intermediate.dense: " in told
    assert "classifier (it makes the output)" in told
    assert f"params {made.before.params:,} to {made.after.params:,}" in told
    assert "of their energy" in told
    assert "the answer changes by" in told


def test_the_plan_of_a_ratio_has_the_shapes():
    module, inputs, task = make("bert")
    told = given(inputs, task)
    structure, ranks = planned(module, options=options(ratio=0.5), **told)
    made = factorize(module, options=options(ratio=0.5, method="svd"), **told)
    assert ranks == made.ranks
    shapes = {name: p.shape for name, p in made.module.named_parameters()}
    assert {name: p.shape for name, p in structure.named_parameters()} == shapes
    assert planned(module, options=options(energy=0.9), **told) is None
    with pytest.raises(TargetError):
        planned(module, options=options(target={"macs": 0.01}), **told)


@pytest.mark.parametrize("name", [pytest.param("bert", marks=pytest.mark.slow), "cnn"])
def test_the_onnx_file_has_the_small_layers(name, tmp_path):
    module, inputs, task = make(name, **({"layers": 1} if name == "bert" else {}))
    made = factorize(module, options=options(ratio=0.5), batches=[inputs], **given(inputs, task))
    path = tmp_path / "model.onnx"
    export_module(made.module, task=task, example=inputs, path=path, labels=("a", "b", "c"))
    parity = check_parity(made.module, path, task=task, batches=[inputs])
    assert parity is not None
    shapes = {t.name: tuple(t.dims) for t in onnx.load(path).graph.initializer}
    for split_path, rank in made.ranks.items():
        reduce = made.module.get_submodule(split_path).reduce
        found = [s for n, s in shapes.items() if n.startswith(f"{split_path}.reduce")]
        assert found, shapes
        assert rank in found[0]
        assert torch.Size(found[0]).numel() == reduce.weight.numel()
    if name == "bert":
        assert isinstance(made.module.get_submodule("bert.pooler.dense"), LowRankLayer)
