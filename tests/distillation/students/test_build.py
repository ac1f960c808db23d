import copy
import json

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DeiTConfig,
    DeiTForImageClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
    Qwen3Config,
    Qwen3ForCausalLM,
    RobertaConfig,
    RobertaForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

from compress.distillation.agreement import check_outputs
from compress.distillation.students.build import make_student
from compress.distillation.students.layer_choice import evenly_spaced
from compress.distillation.students.layers import keep_layers
from compress.distillation.students.spec import StudentSpec
from compress.distillation.students.untrained import from_changes, from_config, from_factory
from compress.errors import ModelError, StageError
from compress.models.source import PythonSource, TransformersSource, source_from_dict
from compress.tasks.task import task

SMALL = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_labels": 3}
TEXT = SMALL | {"num_hidden_layers": 5, "vocab_size": 40, "max_position_embeddings": 24}
IMAGE = SMALL | {"num_hidden_layers": 5, "image_size": 8, "patch_size": 4, "num_channels": 1}
DISTIL = {
    "dim": 16,
    "n_heads": 2,
    "hidden_dim": 24,
    "n_layers": 5,
    "vocab_size": 40,
    "num_labels": 3,
}

FAMILIES = {
    "bert": (BertForSequenceClassification, BertConfig(**TEXT), "bert.encoder.layer"),
    "roberta": (RobertaForSequenceClassification, RobertaConfig(**TEXT), "roberta.encoder.layer"),
    "distilbert": (
        DistilBertForSequenceClassification,
        DistilBertConfig(**DISTIL),
        "distilbert.transformer.layer",
    ),
    "mpnet": (MPNetForSequenceClassification, MPNetConfig(**TEXT), "mpnet.encoder.layer"),
    "electra": (
        ElectraForSequenceClassification,
        ElectraConfig(**TEXT, embedding_size=8),
        "electra.encoder.layer",
    ),
    "deberta-v2": (
        DebertaV2ForSequenceClassification,
        DebertaV2Config(**TEXT),
        "deberta.encoder.layer",
    ),
    "modernbert": (
        ModernBertForSequenceClassification,
        ModernBertConfig(**TEXT, pad_token_id=0, cls_token_id=1, sep_token_id=2),
        "model.layers",
    ),
    "vit": (ViTForImageClassification, ViTConfig(**IMAGE), None),
    "deit": (DeiTForImageClassification, DeiTConfig(**IMAGE), None),
}


def teacher_of(family):
    model_class, config, path = FAMILIES[family]
    torch.manual_seed(0)
    module = model_class(copy.deepcopy(config)).eval()
    if path is None:
        lists = [n for n, p in module.named_modules() if isinstance(p, nn.ModuleList)]
        (path,) = [name for name in lists if len(module.get_submodule(name)) == 5]
    return module, TransformersSource.of(module), path


def inputs_of(family):
    if family in ("vit", "deit"):
        return {"pixel_values": torch.rand(2, 1, 8, 8)}
    ids = torch.randint(3, 40, (2, 7))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_has_the_chosen_layers_and_all_else(family):
    teacher, source, path = teacher_of(family)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    made = keep_layers(teacher, source, layers=3)
    student, student_source = made.module, made.source

    assert made.notes == ("student: layers 0, 2, 4 of the teacher's 5 (from 0)",)
    renamed = {}
    for name, tensor in before.items():
        if not name.startswith(path + "."):
            renamed[name] = tensor
            continue
        place, _, rest = name[len(path) + 1 :].partition(".")
        if place in ("0", "2", "4"):
            renamed[f"{path}.{int(place) // 2}.{rest}"] = tensor
    state = student.state_dict()
    assert state.keys() == renamed.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in renamed.items())

    inputs = inputs_of(family)
    rebuilt = source_from_dict(json.loads(json.dumps(student_source.to_dict()))).build()
    rebuilt.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(student(**inputs).logits, rebuilt(**inputs).logits)
    assert student.config.num_hidden_layers == rebuilt.config.num_hidden_layers == 3

    assert teacher.config.num_hidden_layers == 5
    assert len(teacher.get_submodule(path)) == 5
    assert all(torch.equal(before[name], t) for name, t in teacher.state_dict().items())


def test_keeping_every_layer_keeps_every_answer():
    teacher, source, _ = teacher_of("bert")
    student = keep_layers(teacher, source, layers=5).module
    inputs = inputs_of("bert")
    with torch.no_grad():
        assert torch.equal(teacher(**inputs).logits, student(**inputs).logits)


def test_cuts_inside_layers_are_kept():
    teacher, source, _ = teacher_of("bert")
    layer = teacher.bert.encoder.layer[4]
    layer.intermediate.dense = nn.Linear(16, 10)
    layer.output.dense = nn.Linear(10, 16)
    student = keep_layers(teacher, source, layers=2).module
    assert student.bert.encoder.layer[1].intermediate.dense.out_features == 10
    assert student(**inputs_of("bert")).logits.shape == (2, 3)


@pytest.mark.parametrize(
    ("count", "total", "kept"),
    [
        (1, 12, (0,)),
        (2, 12, (0, 11)),
        (3, 6, (0, 3, 5)),
        (6, 12, (0, 2, 4, 7, 9, 11)),
        (4, 4, (0, 1, 2, 3)),
    ],
)
def test_layers_are_evenly_spaced(count, total, kept):
    assert evenly_spaced(count, total=total) == kept


def test_more_layers_than_the_teacher_has_are_refused():
    teacher, source, _ = teacher_of("bert")
    with pytest.raises(StageError, match=r"'layers' must be at most the teacher's 5\. Got 6\."):
        keep_layers(teacher, source, layers=6)


def test_a_model_whose_layers_share_weights_is_refused():
    teacher = AlbertForSequenceClassification(AlbertConfig(**TEXT, embedding_size=8))
    with pytest.raises(
        StageError, match=r"Albert.* must have one list of 5 layers.* share weights"
    ):
        keep_layers(teacher, TransformersSource.of(teacher), layers=2)


def test_a_plain_module_has_no_layers_to_choose():
    with pytest.raises(StageError, match=r"needs a transformers model .* Got Sequential"):
        keep_layers(nn.Sequential(nn.Linear(2, 2)), PythonSource("a:b"), layers=1)


def test_changes_make_an_untrained_student_with_the_teachers_labels():
    _, source, _ = teacher_of("distilbert")
    changes = {"num_hidden_layers": 2, "dim": 8}
    make = [
        from_changes(changes, source, labels=("a", "b", "c"), seed=seed).module
        for seed in (1, 1, 2)
    ]
    weights = [module.state_dict()["pre_classifier.weight"] for module in make]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert weights[0].shape == (8, 8)
    assert make[0].config.n_layers == 2
    assert make[0].config.id2label == {0: "a", 1: "b", 2: "c"}


def test_changes_of_the_layer_count_fit_per_layer_lists():
    _, source, _ = teacher_of("modernbert")
    student = from_changes({"num_hidden_layers": 2}, source, labels=(), seed=0)
    assert len(student.source.config["layer_types"]) == 2


def test_an_unknown_key_names_the_nearest():
    _, source, _ = teacher_of("bert")
    with pytest.raises(StageError, match=r"'hiden_size'.*Did you mean 'hidden_size'"):
        from_changes({"hiden_size": 8}, source, labels=(), seed=0)


@pytest.mark.parametrize("changes", [{"hidden_size": 15}, {"hidden_size": "wide"}])
def test_changes_that_do_not_fit_are_one_sentence(changes):
    _, source, _ = teacher_of("bert")
    with pytest.raises(StageError, match=r"a student with .* can't be built"):
        from_changes(changes, source, labels=(), seed=0)


def test_a_config_folder_makes_a_student_with_the_teachers_outputs(tmp_path):
    _, source, _ = teacher_of("bert")
    ElectraConfig(**(TEXT | {"num_labels": 7}), embedding_size=8).save_pretrained(tmp_path)
    student = from_config(
        str(tmp_path),
        source,
        auto_class="AutoModelForSequenceClassification",
        labels=("a", "b", "c"),
        seed=0,
    )
    assert student.source.class_name == "ElectraForSequenceClassification"
    assert student.module(**inputs_of("electra")).logits.shape == (2, 3)
    assert student.module.config.label2id == {"a": 0, "b": 1, "c": 2}
    assert student.source.build().state_dict().keys() == student.module.state_dict().keys()


def test_a_smaller_vocabulary_is_refused(tmp_path):
    _, source, _ = teacher_of("bert")
    BertConfig(**(TEXT | {"vocab_size": 30})).save_pretrained(tmp_path)
    auto = "AutoModelForSequenceClassification"
    with pytest.raises(StageError, match=r"'vocab_size' .* at least the teacher's 40.*Got 30"):
        from_config(str(tmp_path), source, auto_class=auto, labels=("a", "b", "c"), seed=0)


def test_a_missing_config_is_one_sentence(tmp_path):
    auto = "AutoModelForSequenceClassification"
    with pytest.raises(StageError, match="can't be built"):
        from_config(str(tmp_path), None, auto_class=auto, labels=("a",), seed=0)


def test_a_factory_is_seeded_and_its_source_rebuilds_it():
    arguments = {"in_features": 4, "out_features": 2}
    first, second = (from_factory("torch.nn:Linear", arguments=arguments, seed=5) for _ in range(2))
    assert torch.equal(first.module.weight, second.module.weight)
    assert first.source == PythonSource("torch.nn:Linear", arguments)
    with pytest.raises(ModelError):
        from_factory("torch.nn:Lineal", arguments={}, seed=5)


def test_students_leave_torchs_random_state_alone():
    teacher, source, _ = teacher_of("bert")
    state = torch.get_rng_state()
    keep_layers(teacher, source, layers=2)
    from_changes({"num_hidden_layers": 2}, source, labels=(), seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_student_with_other_outputs_or_inputs_is_refused():
    images = {"pixel_values": torch.rand(2, 4)}
    kind = task("image-classification")
    with pytest.raises(StageError, match=r"teacher's outputs, of shape \(2, 3\)\. Got \(2, 2\)"):
        check_outputs(nn.Linear(4, 2), nn.Linear(4, 3), task=kind, inputs=images)
    with pytest.raises(StageError, match="can't read the teacher's inputs"):
        check_outputs(nn.Linear(5, 3), nn.Linear(4, 3), task=kind, inputs=images)
    check_outputs(nn.Linear(4, 3), nn.Linear(4, 3), task=kind, inputs=images)


@pytest.mark.parametrize(
    ("layers", "which", "kept"),
    [
        (2, "even", (0, 4)),
        (2, "first", (0, 1)),
        (2, "last", (3, 4)),
        ([0, 2, 3], "even", (0, 2, 3)),
        ([4], "even", (4,)),
    ],
)
def test_which_layers_can_be_said(layers, which, kept):
    teacher, source, _ = teacher_of("bert")
    student = keep_layers(teacher, source, layers=layers, which=which).module
    for own, place in zip(student.bert.encoder.layer, kept, strict=True):
        weight = teacher.bert.encoder.layer[place].output.dense.weight
        assert torch.equal(own.output.dense.weight, weight)


def test_a_layer_that_is_not_there_is_refused():
    teacher, source, _ = teacher_of("bert")
    with pytest.raises(StageError, match=r"'layers' must be a list of numbers below 5"):
        keep_layers(teacher, source, layers=[0, 5])


def generator_of(kind):
    torch.manual_seed(0)
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    if kind == "gpt2":
        config = GPT2Config(n_embd=16, n_head=2, n_layer=5, vocab_size=40, n_positions=24, **ends)
        return GPT2LMHeadModel(config).eval()
    values = TEXT | {"num_attention_heads": 4, "num_key_value_heads": 2} | ends
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**values)).eval()
    config = Qwen3Config(**values, head_dim=4, use_sliding_window=True, max_window_layers=2)
    return Qwen3ForCausalLM(config).eval()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen3"])
def test_generators_keep_layers_too(kind):
    teacher = generator_of(kind)
    student = keep_layers(teacher, TransformersSource.of(teacher), layers=[0, 3, 4])
    inputs = inputs_of("bert")
    rebuilt = source_from_dict(json.loads(json.dumps(student.source.to_dict()))).build()
    rebuilt.load_state_dict(student.module.state_dict())
    with torch.no_grad():
        wanted = student.module(**inputs).logits
        torch.testing.assert_close(rebuilt(**inputs).logits, wanted)
        generated = student.module.generate(inputs["input_ids"], max_new_tokens=3, do_sample=False)
    assert generated.shape[1] > 7
    assert student.module.config.num_hidden_layers == 3
    types = getattr(teacher.config, "layer_types", None)
    if types is not None:
        assert student.module.config.layer_types == [types[0], types[3], types[4]]
    whole = keep_layers(teacher, TransformersSource.of(teacher), layers=5).module
    with torch.no_grad():
        assert torch.equal(whole(**inputs).logits, teacher(**inputs).logits)


def test_self_is_the_same_architecture_with_other_weights():
    teacher, source, _ = teacher_of("bert")
    make = [
        make_student(
            StudentSpec(self=True),
            teacher,
            source,
            labels=("a", "b", "c"),
            auto_class="",
            seed=seed,
        )
        for seed in (1, 1, 2)
    ]
    weights = [student.module.classifier.weight for student in make]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], teacher.classifier.weight)
    shapes = {name: tensor.shape for name, tensor in teacher.state_dict().items()}
    own = make[0].module.state_dict()
    assert {name: tensor.shape for name, tensor in own.items()} == shapes
    plain = nn.Linear(2, 2)
    with pytest.raises(StageError, match="needs a model that can be built again"):
        make_student(StudentSpec(self=True), plain, None, labels=(), auto_class="", seed=0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"layers": 3}, "3 layers"),
        ({"layers": 1, "which": "first"}, "the first 1 layer"),
        ({"layers": [0, 2]}, "layers 0, 2"),
        ({"layers": 3, "width": {"hidden_size": 8}}, "3 layers, hidden_size 8"),
        ({"width": {"intermediate_size": 9}}, "intermediate_size 9"),
        ({"self": True}, "untrained, same architecture"),
        ({"transformers": {"hidden_size": 8}}, "untrained, hidden_size 8"),
        ({"python": "a:b"}, "untrained a:b"),
    ],
)
def test_students_say_what_they_are(values, words):
    assert StudentSpec.model_validate(values).summarize() == words


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, r"'student' must be given by .* Got \[\]"),
        ({"self": False}, r"Got \[\]"),
        ({"layers": 2, "python": "a:b"}, r"Got \['layers', 'python'\]"),
        ({"layers": 2, "self": True}, r"Got \['layers', 'self'\]"),
        ({"layers": [2, 0]}, r"'layers' must be .* that rises\. Got \[2, 0\]"),
        ({"layers": [1, 1]}, r"different layer numbers"),
        ({"layers": [0], "which": "last"}, r"'which' must be given with a number of 'layers'"),
        ({"self": True, "arguments": {"a": 1}}, r"'arguments' must be given with 'python' only"),
        ({"width": {}}, r"'width' must be given by one of hidden_size"),
    ],
)
def test_students_are_of_one_kind(values, sentence):
    with pytest.raises(ValidationError, match=sentence):
        StudentSpec.model_validate(values)
