import copy
import json

import pytest
import torch
import transformers
from torch import nn

from compress.distillation.students.build import make_student
from compress.distillation.students.layers import keep_layers
from compress.distillation.students.spec import StudentSpec, Width
from compress.distillation.students.width import narrow
from compress.distillation.students.width_sizes import narrowed_shapes
from compress.errors import StageError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.source import PythonSource, TransformersSource
from compress.models.structure.cut import cut
from compress.models.structure.transformers.families import LAYOUTS
from compress.models.structure.transformers.groups import family_groups

SMALL = {
    "hidden_size": 16,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_labels": 3,
}
TEXT = SMALL | {"vocab_size": 40, "max_position_embeddings": 24}
IMAGE = SMALL | {"image_size": 8, "patch_size": 4, "num_channels": 1}
DISTIL = {"dim": 16, "n_heads": 4, "hidden_dim": 24, "n_layers": 3, "vocab_size": 40}
LLM = TEXT | {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DEBERTA = TEXT | {"pos_att_type": ["c2p", "p2c"], "relative_attention": True}
DEBERTA |= {"position_buckets": 8, "max_relative_positions": 16, "pooler_hidden_size": 16}
GPT2 = {"n_embd": 16, "n_head": 4, "n_inner": 24, "n_layer": 3, "n_positions": 24}
GPT2 |= {"vocab_size": 40, "num_labels": 3, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
T5 = {"d_model": 16, "num_heads": 4, "d_ff": 24, "d_kv": 6, "num_layers": 3, "num_labels": 3}
T5 |= {"vocab_size": 40, "relative_attention_num_buckets": 8}

MODELS = {
    "bert": ("BertForSequenceClassification", "BertConfig", TEXT),
    "bert, tokens": ("BertForTokenClassification", "BertConfig", TEXT),
    "bert, features": ("BertModel", "BertConfig", TEXT),
    "roberta": ("RobertaForSequenceClassification", "RobertaConfig", TEXT),
    "camembert": ("CamembertForSequenceClassification", "CamembertConfig", TEXT),
    "xlm-roberta": ("XLMRobertaForSequenceClassification", "XLMRobertaConfig", TEXT),
    "distilbert": ("DistilBertForSequenceClassification", "DistilBertConfig", DISTIL),
    "electra": (
        "ElectraForSequenceClassification",
        "ElectraConfig",
        TEXT | {"embedding_size": 16},
    ),
    "electra, projected": (
        "ElectraForSequenceClassification",
        "ElectraConfig",
        TEXT | {"embedding_size": 6},
    ),
    "mpnet": ("MPNetForSequenceClassification", "MPNetConfig", TEXT),
    "deberta-v2": ("DebertaV2ForSequenceClassification", "DebertaV2Config", DEBERTA),
    "deberta-v2, projected": (
        "DebertaV2ForTokenClassification",
        "DebertaV2Config",
        DEBERTA | {"embedding_size": 6, "share_att_key": True},
    ),
    "t5": ("T5ForTokenClassification", "T5Config", T5),
    "t5, gated": ("T5EncoderModel", "T5Config", T5 | {"feed_forward_proj": "gated-gelu"}),
    "vit": ("ViTForImageClassification", "ViTConfig", IMAGE),
    "deit": ("DeiTForImageClassification", "DeiTConfig", IMAGE),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2),
    "gpt2, classes": ("GPT2ForSequenceClassification", "GPT2Config", GPT2),
    "llama": ("LlamaForCausalLM", "LlamaConfig", LLM),
    "llama, tied": ("LlamaForCausalLM", "LlamaConfig", LLM | {"tie_word_embeddings": True}),
    "mistral": ("MistralForSequenceClassification", "MistralConfig", LLM),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", LLM),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", LLM | {"head_dim": 4}),
}
MODERN = TEXT | {"local_attention": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
MODELS |= {
    "albert": ("AlbertForSequenceClassification", "AlbertConfig", TEXT | {"embedding_size": 6}),
    "albert, alike": ("AlbertModel", "AlbertConfig", TEXT | {"embedding_size": 16}),
    "clip_text_model": ("CLIPTextModel", "CLIPTextConfig", TEXT | {"eos_token_id": 2}),
    "clip_vision_model": ("CLIPVisionModel", "CLIPVisionConfig", IMAGE),
    "gte": ("GteForSequenceClassification", "GteConfig", TEXT),
    "modernbert": ("ModernBertForSequenceClassification", "ModernBertConfig", MODERN),
    "nomic_bert": ("NomicBertForSequenceClassification", "NomicBertConfig", TEXT),
}
HALF = Width(hidden_size=8, intermediate_size=12, num_attention_heads=2)


def teacher_of(name):
    model, config, values = MODELS[name]
    torch.manual_seed(0)
    module = getattr(transformers, model)(getattr(transformers, config)(**values)).eval()
    with torch.no_grad():  # biases and gains that are all alike would hide mistakes
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return module, TransformersSource.of(module)


def answer(module, name):
    torch.manual_seed(1)
    if module.main_input_name == "pixel_values":
        inputs = {"pixel_values": torch.rand(2, 1, 8, 8)}
    else:
        ids = torch.randint(3, 40, (2, 7))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        return module(**inputs)[0]


def shapes_of(module):
    return {name: tuple(p.shape) for name, p in module.named_parameters()}


def test_every_described_family_is_tried():
    kinds = {name.split(",")[0] for name in MODELS}
    assert kinds == {kind for kind, layout in LAYOUTS.items() if layout.sizes is not None}
    assert LAYOUTS.keys() - kinds == {
        *("bart", "clip", "gemma", "gemma2", "gemma3_text", "marian", "swin", "whisper")
    }


@pytest.mark.parametrize("name", MODELS)
def test_a_narrow_student_is_what_its_config_says(name, tmp_path):
    teacher, source = teacher_of(name)
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}
    student = narrow(teacher, source, width=HALF)
    assert answer(student.module, name).isfinite().all()
    config = student.module.config
    assert (config.hidden_size, config.num_attention_heads) == (8, 2)
    configs = [part.config for part in student.module.modules() if hasattr(part, "config")]
    assert all(own.hidden_size == 8 for own in configs)
    assert shapes_of(student.module) == shapes_of(student.source.build())
    assert shapes_of(student.module) == narrowed_shapes(
        shapes_of(teacher), config=source.config, width=HALF
    )
    student.module.save_pretrained(tmp_path / "plain")
    again = type(teacher).from_pretrained(tmp_path / "plain").eval()
    torch.testing.assert_close(
        answer(again, name), answer(student.module, name), rtol=1e-5, atol=1e-6
    )
    save_checkpoint(student.module, student.source, tmp_path / "own")
    structure = json.loads((tmp_path / "own" / "structure.json").read_text())
    assert structure["modules"] == {}, "its config alone says all"
    rebuilt, _ = load_checkpoint(tmp_path / "own")
    torch.testing.assert_close(
        answer(rebuilt, name), answer(student.module, name), rtol=1e-5, atol=1e-6
    )
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())


@pytest.mark.parametrize("name", MODELS)
def test_all_units_give_all_answers(name):
    teacher, source = teacher_of(name)
    student = narrow(teacher, source, width=Width(hidden_size=16, intermediate_size=24))
    assert torch.equal(answer(student.module, name), answer(teacher, name))


UPS = (
    "intermediate.dense",
    "lin1",
    "ffn",
    "mlp.Wi",
    "fc1",
    "up_proj",
    "gate_proj",
    "c_fc",
    "wi",
    "wi_0",
    "wi_1",
)
DOWNS = ("lin2", "fc2", "ffn_output", "mlp.Wo", "down_proj", "mlp.c_proj", ".wo")
DOWNS += tuple(f"layer.{number}.output.dense" for number in range(3))


@pytest.mark.parametrize("name", MODELS)
def test_neurons_of_weight_zero_can_go_without_a_trace(name):
    teacher, source = teacher_of(name)
    gone = [1, 2, 5, 23]
    for path, part in teacher.named_modules():
        if path.endswith(UPS) and hasattr(part, "weight"):
            turned = path.endswith("c_fc")  # GPT-2 holds its weights as (in, out)
            gates = [24 + row for row in gone if path.endswith("mlp.Wi")]  # in the same layer
            (part.weight.data.T if turned else part.weight.data)[gone + gates] = 0
            if part.bias is not None:
                part.bias.data[gone + gates] = 0
        elif path.endswith(DOWNS):
            turned = path.endswith("c_proj")
            (part.weight.data.T if turned else part.weight.data)[:, gone] = 0
    student = narrow(teacher, source, width=Width(intermediate_size=20))
    torch.testing.assert_close(answer(student.module, name), answer(teacher, name))


class OverKept(nn.Module):
    """A normalisation that sees the kept units alone, and leaves zeros at all others."""

    def __init__(self, norm, kept):
        super().__init__()
        self.norm, self.kept = norm, kept
        self.norm.weight.data = norm.weight.data[kept]
        if getattr(norm, "bias", None) is not None:
            self.norm.bias.data = norm.bias.data[kept]
        if hasattr(norm, "normalized_shape"):
            norm.normalized_shape = (len(kept),)

    def forward(self, hidden):
        out = torch.zeros_like(hidden)
        out[..., self.kept] = self.norm(hidden[..., self.kept])
        return out


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "mpnet", "vit", "deit", "llama"])
def test_it_answers_as_a_teacher_whose_norms_see_the_kept_units_alone(name):
    teacher, source = teacher_of(name)
    free = name == "llama"
    # Heads and neurons stay (heads of a decoder) or are made to be those of weight zero.
    gone_heads = [] if free else [0, 2]
    width = Width(hidden_size=8, num_attention_heads=4 if free else 2)
    _weaken(teacher, source, gone_heads)
    gone = torch.tensor([0, 3, 4, 6, 9, 10, 13, 15])
    kept = torch.tensor([unit for unit in range(16) if unit not in gone])
    with torch.no_grad():  # so that these, and no others, are the least important
        for path, part in teacher.named_modules():
            # What reads the answers or the pooled units has other units along its columns.
            if isinstance(part, nn.Linear) and part.in_features == 16 and _reads(path):
                part.weight[:, gone] = 0
    masked = copy.deepcopy(teacher)
    student = narrow(teacher, source, width=width)
    for path, part in list(masked.named_modules()):
        if type(part).__name__ in ("LayerNorm", "LlamaRMSNorm"):
            parent, _, leaf = path.rpartition(".")
            setattr(masked.get_submodule(parent), leaf, OverKept(part, kept))
    got, wanted = answer(student.module, name), answer(masked, name)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


READERS = {
    "pooler": "classifier",
    "classifier": "classifier.out_proj",
    "pre_classifier": "classifier",
}


def _weaken(teacher, source, heads):
    """Let some heads be zero, and let the pooled units that will go be zero too."""
    with torch.no_grad():
        for path, part in teacher.named_modules():
            if not isinstance(part, nn.Linear):
                continue
            if path.endswith(("query", "key", "value", "_lin", "_proj", ".q", ".k", ".v", ".o")):
                rows = [unit for head in heads for unit in range(4 * head, 4 * head + 4)]
                if path.endswith(("out_lin", "o_proj", ".o", "out_proj", "down_proj")):
                    continue
                if part.out_features == 16 and rows:
                    part.weight[rows] = 0
                    part.bias[rows] = 0
        for path, part in teacher.named_modules():
            if path.endswith(("pooler.dense", "classifier.dense", "pre_classifier")):
                part.weight[8:] = 0
                part.bias[8:] = 0
                teacher.get_submodule(READERS[path.split(".")[-2:][0]]).weight[:, 8:] = 0
        for path, part in teacher.named_modules():
            if path.endswith(("relative_attention_bias",)):
                part.weight[:, heads] = 0


def _reads(path):
    return not path.endswith(
        ("output.dense", "out_lin", "o_proj", ".o", "classifier", "classifier.out_proj", "score")
    )


def test_heads_of_weight_zero_go_first():
    teacher, source = teacher_of("llama")
    layer = teacher.model.layers[0].self_attn
    with torch.no_grad():
        layer.q_proj.weight[:8] = 0
        layer.k_proj.weight[:4] = 0
        layer.v_proj.weight[:4] = 0
        layer.o_proj.weight[:, :8] = 0
    student = narrow(teacher, source, width=Width(num_attention_heads=2)).module
    own = student.model.layers[0].self_attn
    assert torch.equal(own.q_proj.weight, layer.q_proj.weight[8:])
    assert torch.equal(own.k_proj.weight, layer.k_proj.weight[4:])
    assert torch.equal(own.o_proj.weight, layer.o_proj.weight[:, 8:])
    assert student.config.num_key_value_heads == 1


@pytest.mark.parametrize("name", ["bert", "distilbert", "mpnet", "vit"])
def test_a_pruned_model_can_be_narrowed(name, tmp_path):
    teacher, source = teacher_of(name)
    groups = family_groups(teacher, units=("heads", "feed_forward"))
    gone = [torch.arange(3 if g.kind == "heads" else (18 if "0" in g.name else 2)) for g in groups]
    pruned = cut(teacher, groups, gone)
    student = narrow(pruned, source, width=HALF)
    assert answer(student.module, name).shape == answer(teacher, name).shape
    neurons = sorted(
        {p.in_features for _, p in student.module.named_modules() if isinstance(p, nn.Linear)}
    )
    assert {6, 12} <= set(neurons), "what has less keeps it; what has more is cut"
    save_checkpoint(student.module, student.source, tmp_path)
    again, _ = load_checkpoint(tmp_path)
    torch.testing.assert_close(
        answer(again, name), answer(student.module, name), rtol=1e-5, atol=1e-6
    )
    shorter = keep_layers(pruned, source, layers=[0, 2])
    assert torch.equal(
        answer(narrow(shorter.module, shorter.source, width=Width(hidden_size=16)).module, name),
        answer(shorter.module, name),
    )


def test_models_with_fewer_hidden_units_keep_these(tmp_path):
    teacher, source = teacher_of("bert")
    groups = family_groups(teacher, units=("hidden",))
    pruned = cut(teacher, groups, [torch.arange(5), torch.arange(3)])
    same = narrow(pruned, source, width=Width(num_attention_heads=4))
    assert torch.equal(answer(same.module, "bert"), answer(pruned, "bert"))
    save_checkpoint(same.module, same.source, tmp_path)
    torch.testing.assert_close(
        answer(load_checkpoint(tmp_path)[0], "bert"), answer(pruned, "bert"), rtol=1e-5, atol=1e-6
    )
    narrower = narrow(pruned, source, width=HALF).module
    assert shapes_of(narrower) == shapes_of(narrow(teacher, source, width=HALF).module)


def test_narrower_heads_stay_so(tmp_path):
    teacher, source = teacher_of("bert")
    groups = family_groups(teacher, units=("head_width",))
    pruned = cut(teacher, groups, [torch.arange(1)] * 3)
    student = narrow(pruned, source, width=HALF)
    attention = student.module.bert.encoder.layer[0].attention.self
    assert (attention.num_attention_heads, attention.attention_head_size) == (2, 3)
    assert attention.query.weight.shape == (6, 8)
    whole = narrow(pruned, source, width=Width(num_attention_heads=4))
    assert torch.equal(answer(whole.module, "bert"), answer(pruned, "bert"))
    save_checkpoint(student.module, student.source, tmp_path)
    torch.testing.assert_close(
        answer(load_checkpoint(tmp_path)[0], "bert"),
        answer(student.module, "bert"),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_model_with_tied_weights_and_fewer_hidden_units_keeps_these():
    teacher, source = teacher_of("llama, tied")
    groups = family_groups(teacher, units=("hidden",))
    pruned = cut(teacher, groups, [torch.tensor([1, 4, 11])])
    student = narrow(pruned, source, width=Width(intermediate_size=24)).module
    assert student.lm_head.weight is student.model.embed_tokens.weight
    assert torch.equal(answer(student, "llama, tied"), answer(pruned, "llama, tied"))


def test_neurons_that_a_config_leaves_to_its_class():
    config = transformers.GPT2Config(**GPT2 | {"n_inner": None})
    module = transformers.GPT2LMHeadModel(config).eval()
    source = TransformersSource.of(module)
    student = narrow(module, source, width=HALF)
    assert "12 of 64 neurons" in student.notes[0]
    assert shapes_of(student.module) == shapes_of(student.source.build())
    same_ratio = narrow(module, source, width=Width(hidden_size=8))
    assert same_ratio.module.config.n_inner == 64, "as many as the teacher's"


def test_a_pruned_decoder_can_be_narrowed():
    teacher, source = teacher_of("llama")
    groups = family_groups(teacher, units=("heads", "feed_forward"))
    pruned = cut(teacher, groups, [torch.arange(1 if g.kind == "heads" else 15) for g in groups])
    student = narrow(pruned, source, width=Width(num_attention_heads=4, intermediate_size=20))
    assert torch.equal(answer(student.module, "llama"), answer(pruned, "llama"))


def test_layers_and_width_together():
    teacher, source = teacher_of("bert")
    spec = StudentSpec(layers=2, which="last", width=HALF)
    student = make_student(spec, teacher, source, labels=("a", "b", "c"), auto_class="", seed=0)
    assert student.notes == (
        "student: layers 1, 2 of the teacher's 3 (from 0)",
        "student: 8 of 16 hidden units, 12 of 24 neurons, 2 of 4 heads, "
        "those with the largest weights",
    )
    assert len(student.module.bert.encoder.layer) == 2
    assert shapes_of(student.source.build()) == shapes_of(student.module)


@pytest.mark.parametrize(
    ("name", "width", "sentence"),
    [
        ("bert", {"hidden_size": 32}, r"'width\.hidden_size' must be at most the teacher's 16"),
        ("bert", {"hidden_size": 10}, r"each head keeps its 4 units.*Got 10 and 2"),
        ("bert", {"num_attention_heads": 2}, r"each head keeps its 4 units.*Got 16 and 2"),
        ("llama", {"num_attention_heads": 3}, r"must be a multiple of 2, since so many share"),
    ],
)
def test_widths_that_do_not_fit_are_refused(name, width, sentence):
    teacher, source = teacher_of(name)
    with pytest.raises(StageError, match=sentence):
        narrow(teacher, source, width=Width(**width))


def test_unknown_families_are_refused():
    config = transformers.SwinConfig(image_size=16, embed_dim=8, depths=[1], num_heads=[2])
    module = transformers.SwinForImageClassification(config)
    with pytest.raises(StageError, match=r"whose layers are all alike: albert, .* 'swin'"):
        narrow(module, TransformersSource.of(module), width=Width(hidden_size=4))
    with pytest.raises(StageError, match="needs a transformers model"):
        narrow(nn.Linear(2, 2), PythonSource("a:b"), width=Width(hidden_size=4))


def test_unknown_parameters_are_refused():
    teacher, source = teacher_of("bert")
    teacher.extra = nn.Linear(16, 2)
    with pytest.raises(StageError, match=r"aren't known to have extra\.weight, extra\.bias"):
        narrow(teacher, source, width=HALF)
