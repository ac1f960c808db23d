import copy
from functools import partial

import pytest
import torch
from torch import nn

from compress.core.batch import model_inputs
from compress.distillation import losses as functions
from compress.distillation.eager import eager_copy
from compress.distillation.lesson import make_lesson
from compress.distillation.objective import Objective
from compress.distillation.options import Losses
from compress.distillation.taps import Taps
from compress.distillation.teacher import LiveTeacher
from compress.errors import StageError
from compress.models.resnet import resnet
from compress.tasks.task import task
from tests.distillation.models import bert, deberta, encoder, gpt2, llama, padded, t5, tagger, texts

MODELS = {
    "text-classification": (bert, "class"),
    "multi-label-text-classification": (bert, "class-set"),
    "token-classification": (tagger, "token-class"),
    "text-generation": (llama, "next-token"),
    "feature-extraction": (encoder, "none"),
}
NONE = {"response": None, "labels": None}
BY_TASK = [
    ("text-classification", {}),
    ("text-classification", {"response": {"logit_standardization": True}}),
    ("text-classification", {"response": {"decoupled": {}}}),
    ("text-classification", {"feature": {"layers": "uniform", "normalize": True}}),
    (
        "text-classification",
        {"relation": {"cosine": 1, "similarity": 2, "distance": 3, "angle": 1}},
    ),
    ("text-classification", {"attention": {"maps": 1, "divergence": "mse", "layers": "uniform"}}),
    ("text-classification", {"attention": {"maps": 1, "queries_keys": 1, "values": 1}}),
    ("multi-label-text-classification", {}),
    ("token-classification", {"relation": {"cosine": 1, "layers": "last"}}),
    ("text-generation", {}),
    ("text-generation", {"response": {"divergence": "reverse"}}),
    ("text-generation", {"response": {"divergence": "jsd"}, "feature": {}}),
    ("text-generation", {"response": {"chunk_tokens": 5}}),
    ("feature-extraction", {**NONE, "relation": {"cosine": 1, "angle": 1}, "feature": {}}),
]


def learner(kind, losses, *, student, teacher):
    """The objective, and a batch to try it on."""
    batch = texts(MODELS[kind][1])
    options = Losses.model_validate(losses)
    lesson = make_lesson(
        options,
        student=student,
        teacher=teacher,
        task=task(kind),
        example=model_inputs(batch),
        seed=0,
    )
    live = LiveTeacher(
        copy.deepcopy(teacher), task=task(kind), taps=lesson.teacher_taps, head=lesson.head
    )
    objective = Objective(
        lesson.terms, task=task(kind), taps=lesson.student_taps, teacher=live, head=lesson.head
    )
    return options, objective, batch


def models(kind, losses, *, twins=False, **student):
    make = MODELS[kind][0]
    teacher = make(layers=4)
    made = copy.deepcopy(teacher) if twins else make(layers=2, seed=1, **student)
    if "maps" in losses.get("attention", {}):
        return eager_copy(made), eager_copy(teacher)
    return made, teacher


@pytest.mark.parametrize(("kind", "losses"), BY_TASK)
def test_every_part_is_there_by_its_name_and_teaches(kind, losses):
    student, teacher = models(kind, losses)
    options, objective, batch = learner(kind, losses, student=student, teacher=teacher)
    parts = objective(student, batch)
    assert parts.keys() == options.weights.keys() == objective.counts(batch).keys()
    for name, part in parts.items():
        assert part.ndim == 0
        assert part.item() > 0, name
        student.zero_grad()
        part.backward(retain_graph=True)
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters()), (
            name
        )
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize(("kind", "losses"), BY_TASK)
def test_a_student_that_is_its_teacher_has_nothing_to_learn_but_labels(kind, losses):
    student, teacher = models(kind, losses, twins=True)
    _, objective, batch = learner(kind, losses, student=student, teacher=teacher)
    parts = objective(student, batch)
    taught = [part for name, part in parts.items() if name != "labels"]
    for part in taught:
        assert part.item() == pytest.approx(0, abs=1e-5)
    torch.stack(taught).sum().backward()
    for parameter in student.parameters():
        if parameter.grad is not None:
            assert parameter.grad.abs().max() < 1e-4


@pytest.mark.parametrize("make", [deberta, t5])
def test_projections_of_described_families_teach(make):
    losses = {**NONE, "attention": {"queries_keys": 1, "values": 1}}
    teacher = make(layers=4)
    for student, learns in ((make(layers=2, seed=1), True), (copy.deepcopy(teacher), False)):
        _, objective, batch = learner(
            "token-classification", losses, student=student, teacher=teacher
        )
        parts = objective(student, batch)
        assert parts.keys() == {"attention.queries_keys", "attention.values"}
        for part in parts.values():
            assert (part.item() > 1e-4) is learns
            assert learns or part.item() == pytest.approx(0, abs=1e-5)


def test_projections_in_one_layer_are_refused():
    losses = {**NONE, "attention": {"queries_keys": 1}}
    with pytest.raises(StageError, match=r"of a known family \(.*bert, .*\)\. Got gpt2"):
        learner("text-generation", losses, student=gpt2(layers=1), teacher=gpt2())


@pytest.mark.parametrize(
    ("kind", "losses"), [case for case in BY_TASK if "decoupled" not in str(case)]
)
def test_padding_changes_nothing(kind, losses):
    student, teacher = models(kind, losses)
    _, objective, batch = learner(kind, losses, student=student, teacher=teacher)
    longer = padded(batch, by=3)
    found, again = objective(student, batch), objective(student, longer)
    for name, part in found.items():
        torch.testing.assert_close(again[name], part, rtol=1e-4, atol=1e-6)
    assert objective.counts(longer) == objective.counts(batch)


def test_parts_are_the_weighted_losses():
    student, teacher = bert(layers=2, seed=1), bert(layers=4)
    losses = {
        "response": {"temperature": 3, "weight": 0.6},
        "labels": {"weight": 0.2, "smoothing": 0.1},
    }
    _, objective, batch = learner("text-classification", losses, student=student, teacher=teacher)
    parts = objective(student, batch)
    logits, wanted = (model(**model_inputs(batch)).logits for model in (student, teacher))
    expected = 0.6 * functions.response(logits, wanted, temperature=3.0)
    torch.testing.assert_close(parts["response"], expected)
    smoothed = functions.labels(logits, batch["labels"], label_smoothing=0.1)
    torch.testing.assert_close(parts["labels"], 0.2 * smoothed)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_chunks_give_the_values_and_gradients_of_the_whole(make):
    student, teacher = make(layers=1, seed=1), make(layers=2)
    found = []
    for chunk_tokens in (None, 1, 4, 1000):
        losses = {"response": {"chunk_tokens": chunk_tokens, "temperature": 2.0}}
        student.zero_grad()
        _, objective, batch = learner("text-generation", losses, student=student, teacher=teacher)
        parts = objective(student, batch)
        torch.stack(list(parts.values())).sum().backward()
        gradients = {name: p.grad.clone() for name, p in student.named_parameters()}
        found.append((parts, gradients, objective.counts(batch)))
    for parts, gradients, counts in found[1:]:
        assert counts == found[0][2]
        for name, part in found[0][0].items():
            torch.testing.assert_close(parts[name], part)
        for name, gradient in found[0][1].items():
            torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6)


def test_the_teacher_answers_without_dropout_and_is_left_alone():
    student, teacher = bert(layers=2, seed=1), bert(layers=4)
    teacher.train()
    before = copy.deepcopy(teacher.state_dict())
    _, objective, batch = learner(
        "text-classification", {}, student=student, teacher=teacher.eval()
    )
    first, second = objective(student, batch), objective(student, batch)
    assert first["response"].item() == second["response"].item()
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(p.requires_grad for p in teacher.parameters())


def test_narrower_students_learn_features_through_a_projection_of_the_objectives_own():
    student, teacher = bert(layers=2, width=16, seed=1), bert(layers=4)
    losses = {"feature": {"layers": "uniform"}}
    _, objective, batch = learner("text-classification", losses, student=student, teacher=teacher)
    shapes = [tuple(p.shape) for p in objective.parameters()]
    assert shapes == [(32, 16), (32,), (32, 16), (32,)]
    objective(student, batch)["feature"].backward()
    assert all(p.grad.abs().sum() > 0 for p in objective.parameters())
    assert not any("projection" in name for name, _ in student.named_modules())


def test_maps_of_fewer_heads_learn_from_averages_of_heads():
    losses = {"attention": {"maps": 1.0, "layers": "uniform"}}
    student = eager_copy(bert(layers=2, heads=2, seed=1))
    teacher = eager_copy(bert(layers=4))
    options = Losses.model_validate(losses)
    example = model_inputs(texts())
    lesson = make_lesson(
        options,
        student=student,
        teacher=teacher,
        task=task("text-classification"),
        example=example,
        seed=0,
    )
    assert any("2 heads learn from 4 as averages over 2 groups" in note for note in lesson.notes)


def test_attention_that_is_fused_returns_no_maps():
    with pytest.raises(StageError, match="returns attention weights"):
        learner(
            "text-classification",
            {"attention": {"maps": 1.0}},
            student=bert(layers=2, seed=1),
            teacher=bert(layers=4),
        )


def test_images_learn_from_maps_of_other_sizes():
    make = partial(resnet, in_channels=1, num_classes=3)
    torch.manual_seed(0)
    student, teacher = make(blocks=[1], width=4).eval(), make(blocks=[1, 1], width=8).eval()
    pair = [{"student": "stages.0", "teacher": "stages.1", "weight": 0.5}]
    losses = {
        "feature": {"layers": pair},
        "attention": {"transfer": 2.0, "layers": pair},
        "relation": {"similarity": 1.0, "angle": 1.0, "layers": pair},
    }
    batch = {"pixel_values": torch.randn(5, 1, 8, 8), "labels": torch.arange(5) % 3}
    kind = task("image-classification")
    options = Losses.model_validate(losses)
    lesson = make_lesson(
        options,
        student=student,
        teacher=teacher,
        task=kind,
        example=model_inputs(batch),
        seed=0,
    )
    live = LiveTeacher(teacher, task=kind, taps=lesson.teacher_taps)
    objective = Objective(lesson.terms, task=kind, taps=lesson.student_taps, teacher=live)
    parts = objective(student, batch)
    assert parts.keys() == options.weights.keys()
    assert objective.counts(batch) == dict.fromkeys(parts, 5)
    torch.stack(list(parts.values())).sum().backward()
    assert student.stages[0][0].conv1.weight.grad.abs().sum() > 0
    assert student.fc.weight.grad.abs().sum() > 0


def test_taps_leave_a_module_as_it_was():
    module, example = bert(layers=2), model_inputs(texts())
    taps = Taps(["bert.encoder.layer.1"])
    with taps.recording(module) as (features, _):
        module(**example)
    assert features["bert.encoder.layer.1"].shape == (4, 7, 32)
    features.clear()
    module(**example)
    assert features == {}
    taps.remove()
    assert not any(part._forward_hooks for part in module.modules())


def test_a_module_that_returns_no_tensor_is_named():
    class Odd(nn.Module):
        def forward(self, values):
            return {"values": values}

    module = nn.Sequential(Odd())
    with (
        pytest.raises(StageError, match=r"module '0' must return a tensor\. Got dict"),
        Taps(["0"]).recording(module),
    ):
        module(torch.ones(1))
