import json

import pytest
import torch
import transformers
from torch import nn

from compress.errors import StageError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.resnet import resnet
from compress.models.source import PythonSource, TransformersSource, source_from_dict
from compress.models.structure.layers import layer_paths
from compress.models.structure.shorter import count_layers, keep_layers

TEXT = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
    "num_labels": 3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
IMAGE = {key: TEXT[key] for key in list(TEXT)[1:5]} | {
    "image_size": 8,
    "patch_size": 4,
    "num_channels": 1,
    "num_labels": 3,
}
DISENTANGLED = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "position_buckets": 4,
}
DISTIL = {"vocab_size": 40, "dim": 16, "hidden_dim": 24, "n_layers": 4, "n_heads": 2}
GPT2 = {"n_embd": 16, "n_head": 2, "n_layer": 4, "n_positions": 24}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 4, "num_heads": 2}
FAMILIES = {
    "bert": ("BertForSequenceClassification", TEXT),
    "roberta": ("RobertaForSequenceClassification", TEXT | {"max_position_embeddings": 26}),
    "distilbert": ("DistilBertForSequenceClassification", DISTIL),
    "mpnet": ("MPNetForSequenceClassification", TEXT | {"max_position_embeddings": 26}),
    "deberta-v2": ("DebertaV2ForSequenceClassification", TEXT | DISENTANGLED),
    "vit": ("ViTForImageClassification", IMAGE),
    "deit": ("DeiTForImageClassification", IMAGE),
    "gpt2": ("GPT2LMHeadModel", TEXT | GPT2),
    "llama": ("LlamaForCausalLM", TEXT | {"num_key_value_heads": 2}),
    "qwen3": ("Qwen3ForCausalLM", TEXT | {"num_key_value_heads": 2, "head_dim": 4}),
    "t5": ("T5ForTokenClassification", TEXT | T5),
}


def model_of(family):
    """A random model in eval mode whose layers all matter, its source, and inputs."""
    torch.manual_seed(0)
    name, values = FAMILIES[family]
    model_class = getattr(transformers, name)
    module = model_class(model_class.config_class(**values)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    if "vocab_size" in values:
        ids = torch.randint(3, 40, (2, 7))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        inputs["attention_mask"][1, 4:] = 0
    else:
        inputs = {"pixel_values": torch.rand(2, 1, 8, 8)}
    return module, TransformersSource.of(module), inputs


def answer(module, inputs):
    with torch.no_grad():
        return module(**inputs).logits


def skipping(module, inputs, layers):
    """What the module answers where these layers hand on what they are given."""

    def skip(_, args, kwargs, output):
        given = args[0] if args else kwargs["hidden_states"]
        return (given, *output[1:]) if isinstance(output, tuple) else given

    paths = layer_paths(module)
    hooks = [
        module.get_submodule(paths[layer]).register_forward_hook(skip, with_kwargs=True)
        for layer in layers
    ]
    found = answer(module, inputs)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("gone", [(1,), (0, 2)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_shorter_model_answers_as_the_whole_one_that_skips_layers(family, gone, tmp_path):
    module, source, inputs = model_of(family)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    kept = [layer for layer in range(4) if layer not in gone]
    wanted, whole = skipping(module, inputs, gone), answer(module, inputs)
    assert not torch.allclose(wanted, whole, atol=1e-4)

    shorter = keep_layers(module, source, kept=kept)
    assert torch.equal(answer(shorter.module, inputs), wanted)
    assert count_layers(*shorter) == len(kept)
    again = source_from_dict(json.loads(json.dumps(shorter.source.to_dict())))
    save_checkpoint(shorter.module, again, tmp_path)
    loaded, _ = load_checkpoint(tmp_path)
    torch.testing.assert_close(answer(loaded, inputs), wanted, rtol=1e-5, atol=1e-6)

    own = {tensor.data_ptr() for tensor in module.parameters()}
    assert not any(tensor.data_ptr() in own for tensor in shorter.module.parameters())
    shared = keep_layers(module, source, kept=kept, share=True).module
    assert all(tensor.data_ptr() in own for tensor in shared.parameters())
    assert torch.equal(answer(shared, inputs), wanted)

    assert count_layers(module, source) == 4
    assert torch.equal(answer(module, inputs), whole)
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())


def test_layers_that_were_cut_stay_as_they_are(tmp_path):
    module, source, inputs = model_of("bert")
    for place, width in ((1, 10), (3, 6)):
        layer = module.bert.encoder.layer[place]
        layer.intermediate.dense, layer.output.dense = nn.Linear(16, width), nn.Linear(width, 16)
    shorter = keep_layers(module, source, kept=[1, 2, 3])
    widths = [layer.intermediate.dense.out_features for layer in shorter.module.bert.encoder.layer]
    assert widths == [10, 24, 6]
    save_checkpoint(*shorter, tmp_path)
    wanted = skipping(module, inputs, [0])
    torch.testing.assert_close(
        answer(load_checkpoint(tmp_path)[0], inputs), wanted, rtol=1e-5, atol=1e-6
    )


def test_relative_positions_of_t5_go_to_the_layer_that_is_first_now():
    module, source, _ = model_of("t5")
    bias = module.transformer.encoder.block[0].layer[0].SelfAttention.relative_attention_bias
    shorter = keep_layers(module, source, kept=[2, 3]).module
    blocks = [block.layer[0].SelfAttention for block in shorter.transformer.encoder.block]
    assert torch.equal(blocks[0].relative_attention_bias.weight, bias.weight)
    assert [block.has_relative_attention_bias for block in blocks] == [True, False]
    old = module.transformer.encoder.block[2].layer[0].SelfAttention
    assert not hasattr(old, "relative_attention_bias")


def test_a_first_layer_unlike_the_others_has_to_stay():
    values = TEXT | {"global_attn_every_n_layers": 2, "local_attention": 4}
    config = transformers.ModernBertConfig(**values)
    module = transformers.ModernBertForSequenceClassification(config).eval()
    source = TransformersSource.of(module)
    assert count_layers(*keep_layers(module, source, kept=[0, 2])) == 2
    with pytest.raises(StageError, match=r"can't be chosen.*other weights \(.*attn_norm"):
        keep_layers(module, source, kept=[1, 2])


def test_models_without_one_list_of_layers_are_refused_by_name():
    python = PythonSource("compress.models.resnet:resnet")
    with pytest.raises(StageError, match=r"Got ResNet: the function that makes it .*`distill`"):
        count_layers(resnet(blocks=[1], width=4, num_classes=2), python)
    config = transformers.SwinConfig(
        image_size=8, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=2
    )
    swin = transformers.SwinForImageClassification(config)
    with pytest.raises(StageError, match=r"Got Swin.*: its layers stand in stages"):
        keep_layers(swin, TransformersSource.of(swin), kept=[0])
