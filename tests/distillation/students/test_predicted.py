import json
import os
import re
import subprocess
import sys

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from compress.distillation.students import predicted
from compress.distillation.students.build import make_student
from compress.distillation.students.predicted import (
    data_problems,
    size_line,
    student_lines,
    student_problems,
)
from compress.distillation.students.spec import StudentSpec
from compress.errors import StageError
from compress.models.folder.header import count, stored_shapes
from compress.models.load import load_model
from compress.models.ngrams.module import NgramClassifier
from compress.models.spec import ModelSpec
from compress.models.transformers.vocabulary import vocabulary_size
from compress.tasks.task import task

TEXT = {
    "hidden_size": 16,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "vocab_size": 40,
    "max_position_embeddings": 24,
    "num_labels": 3,
}
ENDS = {"bos_token_id": 1, "eos_token_id": 2}


def saved(model, path, **options):
    model.save_pretrained(path, **options)
    return ModelSpec(transformers=str(path))


def bert(path, **options):
    return saved(BertForSequenceClassification(BertConfig(**TEXT)), path, **options)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def made(spec, model, name):
    loaded = load_model(model, task=task(name), seed=0)
    student = make_student(
        spec,
        loaded.module,
        loaded.source,
        labels=loaded.labels,
        auto_class=task(name).auto_class,
        seed=0,
    )
    return parameters(student.module), parameters(loaded.module)


STUDENTS = [
    {"layers": 2},
    {"layers": [1, 3]},
    {"layers": 1, "which": "last", "width": {"hidden_size": 8}},
    {"width": {"hidden_size": 8, "intermediate_size": 12}},
    {"self": True},
    {"transformers": {"num_hidden_layers": 1}},
]


@pytest.mark.parametrize("student", STUDENTS)
def test_parameters_are_those_that_the_student_will_have(tmp_path, student):
    model, spec = bert(tmp_path), StudentSpec.model_validate(student)
    own, teacher = made(spec, model, "text-classification")
    [line] = student_lines(spec, model=model, task="text-classification")
    assert f"student: {own:,} parameters, {own / teacher:.1%} of the teacher's {teacher:,}" in line


MODELS = {
    "distilbert": (
        lambda: DistilBertForSequenceClassification(
            DistilBertConfig(dim=16, n_heads=4, hidden_dim=64, n_layers=4, vocab_size=40)
        ),
        "text-classification",
    ),
    "gpt2, tied": (
        lambda: GPT2LMHeadModel(
            GPT2Config(n_embd=16, n_head=2, n_layer=4, vocab_size=40, n_positions=8, **ENDS)
        ),
        "text-generation",
    ),
    "llama": (
        lambda: LlamaForCausalLM(LlamaConfig(**TEXT, **ENDS, num_key_value_heads=2)),
        "text-generation",
    ),
    "llama, tied": (
        lambda: LlamaForCausalLM(LlamaConfig(**TEXT, **ENDS, tie_word_embeddings=True)),
        "text-generation",
    ),
    "a head of another task": (
        lambda: BertForMaskedLM(BertConfig(**TEXT)),
        "text-classification",
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shards", ["5GB", "8KB"])
def test_headers_and_skeletons_count_alike(tmp_path, name, shards):
    make, task_name = MODELS[name]
    model, spec = saved(make(), tmp_path, max_shard_size=shards), StudentSpec(layers=2)
    shapes = stored_shapes(model, task=task_name)
    own, teacher = made(spec, model, task_name)
    assert (shapes is None) == (name == "a head of another task")
    assert shapes is None or count(shapes) == teacher
    [line] = student_lines(spec, model=model, task=task_name)
    assert f"{own:,} parameters" in line
    assert f"teacher's {teacher:,}" in line


def test_batch_statistics_are_no_parameters(tmp_path):
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 4], depths=[1, 1], num_labels=3)
    module = ResNetForImageClassification(config)
    shapes = stored_shapes(saved(module, tmp_path), task="image-classification")
    assert count(shapes) == parameters(module)


def test_a_changed_head_is_counted_as_the_recipe_has_it(tmp_path):
    model = bert(tmp_path).model_copy(update={"arguments": {"num_labels": 9}})
    own, teacher = made(StudentSpec(layers=2), model, "text-classification")
    [line] = student_lines(StudentSpec(layers=2), model=model, task="text-classification")
    assert f"{own:,} parameters, {own / teacher:.1%} of the teacher's {teacher:,}" in line


@pytest.mark.parametrize(
    ("layers", "warning"),
    [(1, None), (3, "above 70%, little is saved"), (4, "above 70%")],
)
def test_students_that_are_too_large_are_warned_of(tmp_path, layers, warning):
    [line] = student_lines(
        StudentSpec(layers=layers), model=bert(tmp_path), task="text-classification"
    )
    assert ("Warning" in line) == (warning is not None)
    assert warning is None or warning in line


def test_students_that_are_too_small_are_warned_of():
    line = size_line(9, teacher=100)
    assert line.endswith("Warning: below 10%, much of its quality may be lost.")


def test_functions_that_a_recipe_names_are_not_called_to_count(tmp_path):
    spec = StudentSpec(python="os:system", arguments={"command": f"touch {tmp_path / 'ran'}"})
    for model, student in (
        (bert(tmp_path), spec),
        (ModelSpec(python="os:system", arguments=spec.arguments), StudentSpec(self=True)),
    ):
        [line] = student_lines(student, model=model, task="text-classification")
        assert line == "student: the run counts its parameters; os:system isn't called before"
    assert not (tmp_path / "ran").exists()


def test_a_student_by_a_function_is_counted_when_it_is_made(tmp_path):
    model = load_model(bert(tmp_path), task=task("text-classification"), seed=0)
    spec = StudentSpec(python="torch.nn:Linear", arguments={"in_features": 4, "out_features": 3})
    student = make_student(
        spec,
        model.module,
        model.source,
        labels=model.labels,
        auto_class=task("text-classification").auto_class,
        seed=0,
    )
    assert f"student: 15 parameters, {15 / parameters(model.module):.1%}" in student.notes[-1]


@pytest.mark.parametrize(
    ("student", "reason"),
    [
        ({"layers": 9}, "'layers' must be at most the teacher's 4. Got 9."),
        ({"width": {"hidden_size": 10}}, "each head keeps its 4 units"),
        ({"transformers": {"hiden_size": 8}}, "unknown key of the teacher's config"),
    ],
)
def test_a_student_that_the_model_cannot_have_is_refused(tmp_path, student, reason):
    spec = StudentSpec.model_validate(student)
    with pytest.raises(StageError, match=re.escape(reason)):
        student_lines(spec, model=bert(tmp_path), task="text-classification")


def test_a_model_that_cannot_be_read_says_why(tmp_path):
    model = bert(tmp_path)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    spec = StudentSpec(layers=2)
    [line] = student_lines(spec, model=model, task="text-classification")
    assert line.startswith("student: its parameters can't be counted before the run: ")


def test_the_model_given_has_no_line(tmp_path):
    assert student_lines(None, model=bert(tmp_path), task="text-classification") == []


@pytest.mark.parametrize("damage", [b"", b"\xff" * 30, b"\x02\0\0\0\0\0\0\0[]"])
def test_a_damaged_header_tells_nothing(tmp_path, damage):
    model = bert(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(damage)
    assert stored_shapes(model, task="text-classification") is None


@pytest.mark.parametrize("cached", [False, True])
def test_a_model_on_this_machine_is_counted_without_torch(cached, tmp_path):
    folder = tmp_path / "models--us--bert" / "snapshots" / "abc"
    model = bert(folder)
    if cached:
        (tmp_path / "models--us--bert" / "refs").mkdir()
        (tmp_path / "models--us--bert" / "refs" / "main").write_text("abc")
    named = "us/bert" if cached else model.transformers
    script = (
        "import sys, json\n"
        "from compress.distillation.students.predicted import student_lines\n"
        "from compress.distillation.students.spec import StudentSpec\n"
        "from compress.models.spec import ModelSpec\n"
        f"model = ModelSpec(transformers={named!r})\n"
        f"specs = {STUDENTS!r}\n"
        "lines = [student_lines(StudentSpec(**spec), model=model, task='text-classification')\n"
        "    for spec in specs]\n"
        "print(json.dumps([lines, 'torch' in sys.modules]))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"},
    )
    lines, heavy = json.loads(said.stdout)
    assert all(line[0].startswith("student: ") for line in lines)
    assert "counted" not in said.stdout
    assert not heavy


CONFIG = {"model_type": "bert", "pad_token_id": 0, **TEXT}


@pytest.mark.parametrize("student", STUDENTS)
def test_a_student_of_a_config_is_counted_without_skeletons(student, monkeypatch):
    model, spec = ModelSpec(config=CONFIG), StudentSpec.model_validate(student)
    own, teacher = made(spec, model, "text-classification")
    monkeypatch.setattr(predicted, "_from_skeletons", None)
    [line] = student_lines(spec, model=model, task="text-classification")
    assert f"student: {own:,} parameters, {own / teacher:.1%} of the teacher's {teacher:,}" in line


def test_counting_draws_nothing(tmp_path):
    model, state = bert(tmp_path), torch.get_rng_state()
    for student in STUDENTS:
        spec = StudentSpec.model_validate(student)
        student_lines(spec, model=model, task="text-classification")
    assert torch.equal(torch.get_rng_state(), state)


def test_problems_need_no_model():
    plain = ModelSpec(python="a:b")
    assert (
        student_problems(StudentSpec(layers=1), model=plain, task="text-classification")[0][0]
        == "student.layers"
    )
    assert (
        student_problems(StudentSpec(python="a:b"), model=plain, task="text-classification") == []
    )
    assert student_problems(None, model=plain, task="text-classification") == []
    assert data_problems(None, key="unlabeled") == []


def test_a_static_student_is_counted_by_its_table(tmp_path):
    model = bert(tmp_path)
    spec = StudentSpec.model_validate({"static": {"dimensions": 8}})
    (line,) = student_lines(spec, model=model, task="feature-extraction")
    assert line.startswith(f"student: {40 * 8} parameters")
    assert student_problems(spec, model=model, task="feature-extraction") == []
    (problem,) = student_problems(spec, model=model, task="text-classification")
    assert problem == (
        "student.static",
        "needs a task whose answer is an embedding. Got text-classification.",
    )


def test_ngrams_are_counted_as_they_are_built(tmp_path):
    model = bert(tmp_path)
    for ngrams in ({"buckets": 100}, {"pieces": [2, 3], "width": 8, "hidden": [4], "buckets": 9}):
        spec = StudentSpec(ngrams=ngrams)
        teacher = load_model(model, task=task("text-classification"), seed=0)
        known = vocabulary_size(teacher.module, teacher.source)
        student = NgramClassifier(spec.ngrams.sizes(vocabulary=known, classes=3))
        [line] = student_lines(spec, model=model, task="text-classification")
        assert f"student: {parameters(student):,} parameters" in line


def test_ngrams_need_a_vocabulary_and_classes_of_texts(tmp_path):
    spec = StudentSpec(ngrams={})
    [(key, problem)] = student_problems(spec, model=bert(tmp_path), task="feature-extraction")
    assert key == "student.ngrams"
    assert "needs the task text-classification" in problem
    model = ModelSpec(python="nets:net")
    [(_, problem)] = student_problems(spec, model=model, task="text-classification")
    assert "whose config has the size of the vocabulary" in problem


@pytest.mark.parametrize(
    "wrong",
    [
        {"pieces": [2, 1]},
        {"hidden": [4]},
        {"buckets": 0},
        {"dropout": 1.0},
        {"vocabulary": 10},
        {"width": 8, "start": "linear"},
        {"rows": 8},
    ],
)
def test_ngrams_that_make_no_model_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StudentSpec(ngrams=wrong)
