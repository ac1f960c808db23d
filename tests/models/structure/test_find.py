"""What can be cut from a model, by its kind; and what can't, by name."""

from typing import get_args

import pytest
import torch
import transformers
from torch import nn

from compress.errors import StageError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.source import TransformersSource
from compress.models.structure.cut import cut, mask
from compress.models.structure.find import find_groups
from compress.models.structure.transformers.families import LAYOUTS
from compress.models.structure.transformers.groups import prunable
from compress.pruning.options import CutOptions, Target, Unit
from compress.pruning.prune import prune
from compress.tasks.task import task
from tests.models.structure.family_models import BART, T5, family_model
from tests.models.structure.small_models import make

CLASSES = task("text-classification")


def found(name, units):
    module, _, inputs, made_for = family_model(name)
    return find_groups(module, task=made_for, inputs=inputs, units=units)


@pytest.mark.parametrize("name", ["bert", "t5, gated", "swin"])
def test_transformers_lose_neurons_and_heads_by_default(name):
    groups, notes = found(name, None)
    assert {group.kind for group in groups} == {"feed_forward", "heads"}
    assert [note.split(":")[0] for note in notes] == ["left alone, as 'units' doesn't name them"]
    assert "head_width" in notes[0]


def test_only_what_is_asked_for_is_cut():
    groups, notes = found("llama", ["hidden"])
    assert [group.kind for group in groups] == ["hidden"]
    assert notes == ("left alone, as 'units' doesn't name them: feed_forward, heads.",)
    assert found("bert", ["feed_forward", "heads", "head_width", "hidden"]).notes == ()


@pytest.mark.parametrize(
    ("name", "unit", "sentence"),
    [
        (
            "bert",
            "channels",
            r"\(model_type 'bert'\) can't lose channels: its described layers have",
        ),
        (
            "mpnet",
            "head_width",
            r"scales scores by the root .* It can lose feed_forward, heads, h",
        ),
        ("deberta-v2", "head_width", r"can't lose head_width: its attention scales scores"),
        ("qwen3", "head_width", r"can't lose head_width: rotary position embeddings"),
        ("t5, features", "hidden", r"its hidden units are what feature-extraction answers"),
    ],
)
def test_units_that_a_family_can_not_lose_are_refused_by_name(name, unit, sentence):
    with pytest.raises(StageError, match=sentence):
        found(name, [unit])


def test_modules_that_are_not_described_are_traced():
    module, inputs, made_for = make("resnet")
    groups, _ = find_groups(module, task=made_for, inputs=inputs, units=None)
    assert {group.kind for group in groups} == {"channels"}
    with pytest.raises(StageError, match=r"ResNet can't lose heads: .* can lose only channels"):
        find_groups(module, task=made_for, inputs=inputs, units=["channels", "heads"])


def test_modules_without_anything_to_cut_say_why():
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(StageError, match=r"Sequential has no channels .* the model's output: 0"):
        find_groups(
            module.eval(),
            task=task("image-classification"),
            inputs={"pixel_values": torch.rand(1, 1, 8, 8)},
            units=None,
        )


def test_encoders_with_decoders_are_refused():
    config = transformers.T5Config(**T5)
    module = transformers.T5ForSequenceClassification(config).eval()
    with pytest.raises(StageError, match="it has both an encoder and a decoder"):
        find_groups(module, task=task("text-classification"), inputs={}, units=None)


def test_a_decoder_that_is_laid_out_as_its_encoder_is_cut_with_it():
    config = transformers.BartConfig(**BART | {"num_labels": 3})
    torch.manual_seed(0)
    module = transformers.BartForSequenceClassification(config).eval()
    ids = torch.randint(3, 40, (2, 8))
    ids[:, -1] = config.eos_token_id
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    options = CutOptions(target=Target(macs=0.7), round_to=1)
    made = prune(module, options, example_inputs=inputs, task=task("text-classification"))
    assert made.after.macs == pytest.approx(0.7 * made.before.macs, rel=0.02)
    for part in (made.module.model.encoder, made.module.model.decoder):
        layer = part.layers[0]
        assert layer.fc1.out_features < {"BartEncoder": 48, "BartDecoder": 24}[type(part).__name__]


@pytest.mark.parametrize("unit", ["heads", "head_width"])
def test_a_decoders_attention_to_its_encoder_is_cut_too(unit, tmp_path):
    config = transformers.BartConfig(**BART | {"num_labels": 3})
    torch.manual_seed(0)
    module = transformers.BartForSequenceClassification(config).eval()
    ids = torch.randint(3, 40, (2, 8))
    ids[:, -1] = config.eos_token_id
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    groups, _ = find_groups(module, task=CLASSES, inputs=inputs, units=[unit])
    assert len(groups) == 4  # two layers of the encoder, and one with two attentions
    gone = [torch.arange(group.units // 2) for group in groups]
    smaller = cut(module, groups, gone)
    layer = smaller.model.decoder.layers[0].encoder_attn
    assert layer.q_proj.weight.shape == layer.v_proj.weight.shape == (16, 32)
    assert layer.out_proj.weight.shape == (32, 16)
    assert (layer.num_heads, layer.head_dim) == ((1, 16) if unit == "heads" else (2, 8))
    save_checkpoint(smaller, TransformersSource.of(module), tmp_path)
    with torch.no_grad():
        whole, wanted, got, again = (
            CLASSES.logits(each, inputs)
            for each in (module, mask(module, groups, gone), smaller, load_checkpoint(tmp_path)[0])
        )
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(again, got)
    assert not torch.allclose(got, whole, rtol=1e-3)


def test_a_decoder_alone_loses_no_heads_that_nothing_reads():
    module = transformers.BartForCausalLM(transformers.BartConfig(**BART)).eval()
    groups, _ = find_groups(module, task=task("text-generation"), inputs={}, units=["heads"])
    assert [group.name for group in groups] == ["model.decoder.layers.0.self_attn"]


def test_a_layer_that_is_laid_out_otherwise_is_named():
    module, _, inputs, made_for = family_model("bert")
    module.bert.encoder.layer[1].intermediate.dense = nn.Sequential(nn.Linear(32, 48, bias=False))
    with pytest.raises(StageError, match=r"bert\.encoder\.layer\.1 doesn't have attention\.self"):
        find_groups(module, task=made_for, inputs=inputs, units=["heads"])


def test_the_table_of_families_is_whole():
    for kind in LAYOUTS:
        can = prunable(kind)
        assert tuple(can) == get_args(Unit)
        assert can["feed_forward"] is can["heads"] is None
        assert set(LAYOUTS[kind].refuses) <= set(can)
        assert all(reason is None or reason[0].islower() for reason in can.values())
    assert {kind for kind in LAYOUTS if prunable(kind)["head_width"] is None} == {
        *("albert", "bart", "bert", "camembert", "clip", "clip_text_model", "clip_vision_model"),
        *("deit", "distilbert", "electra", "gpt2", "marian", "roberta", "swin", "t5", "vit"),
        *("whisper", "xlm-roberta"),
    }
