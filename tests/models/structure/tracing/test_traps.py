"""Where torch-pruning 1.6 leads astray, and that nothing here follows it.

Each test that begins with `test_theirs` shows what the library does; the one after it what is done
here instead.
"""

import inspect
import sys
import time

import pytest
import torch
import transformers
from torch import Tensor, nn

from compress.errors import StageError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.source import PythonSource
from compress.models.structure.cut import cut, mask
from compress.models.structure.tracing.trace import traced_groups
from compress.pruning.cost.model import CostModel, count_cost
from compress.pruning.options import CutOptions, Target
from compress.pruning.prune import prune
from compress.tasks.task import task
from tests.models.structure.small_models import IMAGE, TEXT, make
from tests.models.structure.traced_models import built

tp = pytest.importorskip("torch_pruning")


def theirs(module, inputs, **options):
    """torch-pruning's own pruner."""
    return tp.pruner.BasePruner(
        module,
        example_inputs=tuple(inputs.values()),
        importance=tp.importance.MagnitudeImportance(),
        **options,
    )


def shown(groups):
    return [
        (g.name, g.units, [(p.module, p.tensor, p.dim, p.index.tolist()) for p in g.slices])
        for g in groups
    ]


def test_theirs_writes_into_its_default_arguments():
    defaults = inspect.signature(tp.pruner.BasePruner.__init__).parameters
    groups = defaults["out_channel_groups"].default
    before = dict(groups)
    try:
        module, inputs = built("grouped")
        theirs(module, inputs)
        assert module.grouped in groups
    finally:
        for name in ("out_channel_groups", "in_channel_groups"):
            defaults[name].default.clear()
            defaults[name].default.update(before)


def test_runs_in_one_process_do_not_influence_each_other():
    module, inputs = built("grouped")
    alone = shown(traced_groups(module, task=IMAGE, inputs=inputs)[0])
    defaults = inspect.signature(tp.pruner.BasePruner.__init__).parameters
    for name in ("convnext", "group norms", "grouped"):
        other, given = built(name)
        traced_groups(other, task=IMAGE, inputs=given)
    assert shown(traced_groups(module, task=IMAGE, inputs=inputs)[0]) == alone
    assert all(p.default == {} for p in defaults.values() if isinstance(p.default, dict))


def test_theirs_drops_ignored_types():
    module, inputs = built("plain")
    assert theirs(module, inputs, ignored_layers=[nn.Linear]).ignored_layers == []
    assert len(theirs(module, inputs, ignored_layers=[module.out]).ignored_layers) == 1


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm, self.out = nn.Linear(4, 1000), nn.LayerNorm(1000), nn.Linear(1000, 2)
        nn.init.uniform_(self.norm.weight)

    def forward(self, given: Tensor) -> Tensor:
        answer: Tensor = self.out(self.norm(self.up(given)))
        return answer


KEPT = [5, 512, 999]
GIVEN = {"pixel_values": torch.rand(2, 4)}


def test_theirs_mixes_up_the_entries_of_layer_norms():
    module = Normalised()
    weight = module.norm.weight.detach().clone()
    pruner = tp.pruner.function.LayernormPruner()
    pruner.prune_out_channels(module.norm, [i for i in range(1000) if i not in KEPT])
    assert sorted(module.norm.weight.tolist()) == sorted(weight[KEPT].tolist())
    assert not torch.equal(module.norm.weight, weight[KEPT])


@pytest.mark.parametrize("backwards", [False, True])
def test_layer_norms_keep_the_right_entries(backwards):
    module = Normalised().eval()
    groups, _ = traced_groups(module, task=IMAGE, inputs=GIVEN)
    gone = sorted((i for i in range(1000) if i not in KEPT), reverse=backwards)
    smaller = cut(module, groups, [torch.tensor(gone)])
    assert torch.equal(smaller.norm.weight, module.norm.weight[KEPT])
    assert torch.equal(smaller.up.weight, module.up.weight[KEPT])
    with torch.no_grad():
        wanted = mask(module, groups, [torch.tensor(gone)])(GIVEN["pixel_values"])
        torch.testing.assert_close(smaller(GIVEN["pixel_values"]), wanted, rtol=1e-4, atol=1e-6)


def test_theirs_forgets_what_is_frozen_and_leaves_optimizers_behind():
    module, _ = built("plain")
    frozen = module.first.weight.requires_grad_(False)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    tp.pruner.function.ConvPruner().prune_out_channels(module.first, [0])
    assert module.first.weight.requires_grad
    assert any(p is frozen for p in optimizer.param_groups[0]["params"])
    assert not any(p is module.first.weight for p in optimizer.param_groups[0]["params"])


def test_what_is_frozen_stays_frozen_and_the_rest_trains():
    module, inputs = built("plain")
    module.first.weight.requires_grad_(False)
    groups, _ = traced_groups(module, task=IMAGE, inputs=inputs)
    smaller = cut(module, groups, [torch.tensor([0, 3]) for _ in groups])
    flags = {name: p.requires_grad for name, p in module.named_parameters()}
    assert {name: p.requires_grad for name, p in smaller.named_parameters()} == flags
    optimizer = torch.optim.SGD(smaller.parameters(), lr=1.0)
    before = {name: p.detach().clone() for name, p in smaller.named_parameters()}
    smaller(inputs["pixel_values"]).square().sum().backward()
    optimizer.step()
    still = {name for name, p in smaller.named_parameters() if torch.equal(p, before[name])}
    assert still == {"first.weight"}


def test_theirs_leaves_attentions_products_out_and_ours_does_not():
    module, inputs, kind = make("bert")
    single = {name: value[:1] for name, value in inputs.items()}
    counted, _ = tp.utils.count_ops_and_params(module, single)
    # 3 layers; queries by keys, and scores by values: 12 x 12 tokens, 32 wide, each.
    products = 3 * 2 * 12 * 12 * 32
    linear = 3 * 12 * (4 * 32 * 32 + 2 * 32 * 48) + 32 * 32 + 32 * 3
    assert count_cost(module, task=kind, inputs=single).macs == linear + products
    assert counted < linear + products


@pytest.mark.parametrize("step", [4, 6])
def test_what_is_kept_is_a_multiple(step):
    module, inputs, kind = make("resnet")
    smaller = prune(
        module,
        CutOptions(target=Target(params=0.5), round_to=step),
        example_inputs=inputs,
        task=kind,
    ).module
    widths = {part.out_channels for part in smaller.modules() if isinstance(part, nn.Conv2d)}
    assert all(width % step == 0 for width in widths)
    assert widths != {12, 24}


def llama(key_value_heads=2):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=key_value_heads,
        intermediate_size=24,
        max_position_embeddings=32,
    )
    return transformers.LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("key_value_heads", [4, 2])
def test_theirs_never_ends_with_fewer_key_value_heads(monkeypatch, key_value_heads):
    """With as many heads of keys as of queries, 349 steps are enough."""
    steps = 0
    add_dep = tp.dependency.Group.add_dep

    def counted(group, dep, idxs):
        nonlocal steps
        steps += 1
        if steps > 3000:
            raise TimeoutError
        add_dep(group, dep, idxs)

    graph = tp.DependencyGraph().build_dependency(
        llama(key_value_heads),
        example_inputs={"input_ids": torch.randint(0, 50, (1, 7))},
        forward_fn=task("text-generation").logits,
        verbose=False,
    )
    monkeypatch.setattr(tp.dependency.Group, "add_dep", counted)
    if key_value_heads == 4:
        assert len(list(graph.get_all_groups())) > 0
        assert steps < 1000
    else:
        with pytest.raises(TimeoutError):
            list(graph.get_all_groups())


class Dense(nn.Module):
    """Every layer reads all layers before it, so that there are millions of steps to follow."""

    def __init__(self, layers: int = 100, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(1 + i * width, width, 1) for i in range(layers))
        self.out = nn.Linear(1 + layers * width, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = images
        for layer in self.layers:
            hidden = torch.cat([hidden, layer(hidden)], 1)
        answer: Tensor = self.out(hidden.mean((2, 3)))
        return answer


def test_following_channels_ends_in_time():
    inputs = {"pixel_values": torch.rand(1, 1, 2, 2)}
    traced_groups(Dense(2), task=IMAGE, inputs=inputs)  # imports what is needed
    began = time.process_time()
    with pytest.raises(
        StageError,
        match=r"^tracing Dense for pruning, following the channels of 'layers\.\d+', took longer "
        r"than 0\.2 s and was stopped\.$",
    ):
        traced_groups(Dense(), task=IMAGE, inputs=inputs, limit_s=0.2)
    assert time.process_time() - began < 5, "all of it takes 20 s"


def test_fewer_key_value_heads_do_not_hang():
    inputs = {"input_ids": torch.randint(0, 50, (2, 7))}
    module, kind = llama(), task("text-generation")
    groups, notes = traced_groups(module, task=kind, inputs=inputs, limit_s=20)
    names = [group.name for group in groups]
    assert "model.layers.0.mlp.gate_proj" in names
    assert any("self_attn.q_proj" in note for note in notes)
    units = [torch.arange(group.units // 3) for group in groups]
    with torch.no_grad():
        wanted = kind.logits(mask(module, groups, units), inputs)
        answer = kind.logits(cut(module, groups, units), inputs)
    torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-5)


class Cosine(nn.Module):
    """A parameterised layer that nobody knows."""

    def __init__(self) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(12, 5))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden @ nn.functional.normalize(self.directions, dim=0)


def test_unknown_layers_are_named_and_what_they_read_stays():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), Cosine(), nn.Linear(5, 3)
    ).eval()
    inputs = {"pixel_values": torch.rand(2, 8)}
    groups, notes = traced_groups(module, task=IMAGE, inputs=inputs)
    assert [group.name for group in groups] == ["0"]
    assert notes[0] == (
        "left alone, as 4 (Cosine) uses its 'directions' on them by Mm, which isn't a known "
        "layer's: 2."
    )
    with pytest.raises(StageError, match=r"no channels that can be cut.* 4 \(Cosine\) uses its"):
        prune(
            module[2:],
            CutOptions(target=Target(params=0.5)),
            example_inputs={"pixel_values": torch.rand(2, 16)},
            task=IMAGE,
        )


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.LSTM(16, 16, batch_first=True)
        self.third = nn.MultiheadAttention(16, 2, batch_first=True)
        self.up, self.out = nn.Linear(16, 24), nn.Linear(24, 3)

    def forward(self, given: Tensor) -> Tensor:
        hidden = self.second(self.first(given))[0]
        answer: Tensor = self.out(self.up(self.third(hidden, hidden, hidden)[0]).relu().mean(1))
        return answer


def test_recurrent_layers_are_named_and_heads_are_cut():
    module, inputs = Recurrent().eval(), {"pixel_values": torch.rand(1, 5, 8)}
    groups, notes = traced_groups(module, task=IMAGE, inputs=inputs)
    assert sorted(group.name for group in groups) == ["first", "third", "up"]
    assert any(note.startswith("left alone, as LSTM second computes each") for note in notes)


def test_undescribed_gpt2_is_refused_with_the_names_of_its_layers():
    config = transformers.GPT2Config(
        vocab_size=50,
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=32,
        bos_token_id=0,
        eos_token_id=0,
    )
    module = transformers.GPT2LMHeadModel(config).eval()
    groups, notes = traced_groups(
        module, task=task("text-generation"), inputs={"input_ids": torch.randint(0, 50, (1, 5))}
    )
    assert groups == []
    assert any(r"c_proj (Conv1D) uses its 'weight' on them by Addmm" in note for note in notes)


def test_theirs_fails_where_halves_are_concatenated_and_ours_does_not():
    module, inputs = built("halves")
    with pytest.raises(TypeError):
        theirs(module, inputs)
    groups, _ = traced_groups(module, task=IMAGE, inputs=inputs)
    assert {group.name for group in groups} >= {"first", "second", "third", "fourth", "hidden"}


def test_checkpoints_reload_without_torch_pruning(tmp_path, monkeypatch):
    module, inputs = built("squeeze")
    groups, _ = traced_groups(module, task=IMAGE, inputs=inputs)
    smaller = cut(module, groups, [torch.tensor([1]) for _ in groups])
    source = PythonSource("tests.models.structure.traced_models:Squeeze", {})
    save_checkpoint(smaller, source, tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "torch_pruning"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch_pruning", None)  # importing it fails
    rebuilt, _ = load_checkpoint(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(
            rebuilt(inputs["pixel_values"]), smaller(inputs["pixel_values"]), rtol=1e-5, atol=1e-6
        )
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_a_ratio_of_channels_is_not_a_ratio_of_parameters():
    """Where both sides of a layer lose p of their channels, 1 - (1 - p)^2 of it goes."""
    torch.manual_seed(0)
    layers = [nn.Linear(40, 40, bias=False) for _ in range(6)]
    module = nn.Sequential(*layers, nn.Linear(40, 3)).eval()
    inputs = {"input_ids": torch.rand(2, 40)}
    groups, _ = traced_groups(module, task=TEXT, inputs=inputs)
    model = CostModel(module, groups, task=TEXT, inputs=inputs)
    left = model.predict([10] * len(groups))
    inner = 5 * 40 * 40
    gone = model.total.params - left.params
    ends = 40 * 10 + 10 * 3
    assert len(groups) == 6
    assert (gone - ends) / inner == pytest.approx(1 - (1 - 0.25) ** 2)
    smaller = cut(module, groups, [torch.arange(10)] * 6)
    assert sum(p.numel() for p in smaller.parameters()) == left.params
