"""Scales that move from activations into weights and change no answer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compress.errors import StageError
from compress.quantization.integers import Integers
from compress.quantization.smoothquant.folds import find_folds
from compress.quantization.smoothquant.inputs import ROWS, watch_inputs
from compress.quantization.smoothquant.search import choose_alpha
from compress.quantization.smoothquant.smooth import smooth
from compress.tasks.task import TASKS

TEXT = {"vocab_size": 40, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


def _model(family):
    import transformers as hf

    torch.manual_seed(0)
    made = {
        "vit": lambda: hf.ViTForImageClassification(
            hf.ViTConfig(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=24,
                image_size=8,
                patch_size=4,
                num_channels=1,
            )
        ),
        "gpt2": lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=16, **TEXT)
        ),
        "llama": lambda: hf.LlamaForCausalLM(
            hf.LlamaConfig(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                intermediate_size=24,
                tie_word_embeddings=True,
                **TEXT,
            )
        ),
        "t5": lambda: hf.T5EncoderModel(
            hf.T5Config(d_model=16, d_kv=8, num_layers=2, num_heads=2, d_ff=24, vocab_size=40)
        ),
        "bert": lambda: hf.BertForSequenceClassification(
            hf.BertConfig(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=24,
                vocab_size=40,
            )
        ),
        "modernbert": lambda: hf.ModernBertForSequenceClassification(
            hf.ModernBertConfig(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=24,
                **TEXT | dict.fromkeys(("cls_token_id", "sep_token_id", "pad_token_id"), 0),
            )
        ),
    }
    module = made[family]().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


TASK_OF = {
    "vit": TASKS["image-classification"],
    "gpt2": TASKS["text-generation"],
    "llama": TASKS["text-generation"],
    "t5": TASKS["feature-extraction"],
    "bert": TASKS["text-classification"],
    "modernbert": TASKS["text-classification"],
}


def _batch(family, seed=0, samples=4):
    generator = torch.Generator().manual_seed(seed)
    if family == "vit":
        return {"pixel_values": torch.randn(samples, 1, 8, 8, generator=generator)}
    ids = torch.randint(1, 40, (samples, 9), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize(
    ("family", "places"),
    [("vit", 6), ("gpt2", 6), ("llama", 8), ("t5", 8), ("bert", 2), ("modernbert", 8)],
)
def test_answers_stay_and_the_module_given_too(family, places):
    module, task, batch = _model(family), TASK_OF[family], _batch(family)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    made = smooth(module, task=task, batches=[batch, _batch(family, 1)])
    assert f"at {places} of {places} places" in made.notes[0]
    other = _batch(family, 2)
    with torch.no_grad():
        wanted, got = task.logits(module, other), task.logits(made.module, other)
    assert (got - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    changed = made.module.state_dict()
    assert changed.keys() == before.keys()
    assert any(not torch.equal(changed[name], before[name]) for name in before)


def test_post_norm_leaves_normalisations_alone_and_says_why():
    made = smooth(_model("bert"), task=TASK_OF["bert"], batches=[_batch("bert")])
    assert "4 normalisations" in made.notes[1]
    assert "residual sum" in made.notes[1]


def test_query_heads_that_share_values_share_scales():
    module = _model("llama")
    folds, _ = find_folds(module, task=TASK_OF["llama"], batch=_batch("llama"))
    fold = next(fold for fold in folds if fold.maker.endswith("v_proj"))
    assert fold.channels == 8
    assert fold.index.tolist() == [*range(4), *range(4), *range(4, 8), *range(4, 8)]


class _Plain(nn.Module):
    """Layers of nobody's family; one activation is ReLU, the other isn't positively homogeneous."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.a, self.b, self.c = nn.Linear(8, 12), nn.Linear(12, 12), nn.Linear(12, 4)
        self.relu, self.gelu = nn.ReLU(), nn.GELU()

    def forward(self, pixel_values):
        x = self.relu(self.a(self.norm(pixel_values)))
        return self.c(self.gelu(self.b(x)))


def _plain():
    torch.manual_seed(0)
    return _Plain().eval(), {"pixel_values": torch.randn(16, 8)}


def test_a_relu_lets_scales_through_and_a_gelu_does_not():
    module, batch = _plain()
    folds, failed = find_folds(module, task=TASKS["image-classification"], batch=batch)
    assert [(fold.maker, fold.readers) for fold in folds] == [("norm", ("a",)), ("a", ("b",))]
    assert [fold.maker for fold in failed] == ["b"]


def test_an_alpha_out_of_range_is_refused():
    module, batch = _plain()
    with pytest.raises(StageError, match="alpha"):
        smooth(module, task=TASKS["image-classification"], batches=[batch], alphas=(1.5,))


def test_no_samples_are_refused():
    with pytest.raises(StageError, match="no calibration samples"):
        smooth(_plain()[0], task=TASKS["image-classification"], batches=[])


def test_values_that_are_not_finite_are_refused():
    module, batch = _plain()
    broken = {"pixel_values": torch.full((2, 8), float("nan"))}
    with pytest.raises(StageError, match="aren't finite"):
        smooth(module, task=TASKS["image-classification"], batches=[batch, broken])


def _watch(module, batches):
    task = TASKS["image-classification"]
    return watch_inputs(module, ["a"], task=task, batches=batches, advance=lambda: None)["a"]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=6))
def test_batching_changes_nothing_that_is_seen(sizes):
    module, _ = _plain()
    values = torch.randn(sum(sizes), 8, generator=torch.Generator().manual_seed(1))
    whole = _watch(module, [{"pixel_values": values}])
    parts = _watch(module, [{"pixel_values": part} for part in values.split(sizes)])
    for name in ("low", "high", "rows"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
    assert len(whole.rows) == min(ROWS, len(values))


def test_padding_is_not_seen():
    module, batch = _model("bert"), _batch("bert")
    batch["attention_mask"][:, 6:] = 0
    seen = watch_inputs(
        module,
        ["bert.encoder.layer.0.intermediate.dense"],
        task=TASK_OF["bert"],
        batches=[batch],
        advance=lambda: None,
    )
    assert len(seen["bert.encoder.layer.0.intermediate.dense"].rows) == 4 * 6


def _choose(rows, weights, alphas=(0.5, 0.75), integers=None):
    from compress.quantization.smoothquant.inputs import Inputs

    inputs = Inputs(rows.amin(0), rows.amax(0), rows)
    width = rows.shape[1]
    return choose_alpha(
        inputs,
        weights,
        index=torch.arange(width),
        channels=width,
        alphas=alphas,
        integers=integers or Integers(),
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(1, 300), st.sampled_from(["uint8", "int8"]))
def test_scales_are_never_worse_than_none(seed, outlier, kind):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(64, 16, generator=generator)
    rows[:, 3] *= outlier
    weights = [torch.randn(8, 16, generator=generator) for _ in range(2)]
    found = _choose(rows, weights, integers=Integers(activations=kind))
    assert found.after <= found.before
    assert (found.alpha is None) == (found.after == found.before)
    assert (found.scales > 0).all()
    if outlier > 30:
        assert found.after < 0.6 * found.before
        assert found.scales.argmax() == 3


def test_dead_channels_keep_their_scale():
    rows = torch.randn(64, 6)
    rows[:, 2] = 0
    rows[:, 0] *= 80
    weight = torch.randn(4, 6)
    weight[:, 4] = 0
    found = _choose(rows, [weight])
    assert found.alpha is not None
    assert found.scales[2] == found.scales[4] == 1
    assert found.scales.isfinite().all()


def test_where_no_alpha_helps_nothing_moves():
    signs = torch.randint(2, (64, 6), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    found = _choose(signs, [torch.eye(6)])
    assert found.alpha is None
    assert (found.scales == 1).all()
