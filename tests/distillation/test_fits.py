import pytest

from compress.distillation.fits import problems, require_fit
from compress.distillation.options import Losses
from compress.distillation.teacher_spec import TeacherSpec
from compress.errors import StageError
from compress.training.options import TrainingOptions

CACHE = {"cache": {}}
BOTH = ["reference", "baseline"]
NO_ANSWERS = {"response": None, "labels": None}


def found(target, losses=None, teacher=None, training=None):
    return problems(
        Losses.model_validate(losses or {}),
        target=target,
        teacher=TeacherSpec.model_validate(teacher or {}),
        training=TrainingOptions.model_validate(training or {}),
    )


@pytest.mark.parametrize(
    ("target", "losses", "teacher", "training"),
    [
        ("class", {}, {}, {}),
        ("class", {"response": {"decoupled": {}}}, CACHE, {}),
        ("class-set", {}, CACHE, {}),
        ("token-class", {"relation": {"cosine": 1, "layers": "last"}}, {}, {}),
        ("next-token", {"response": {"divergence": "jsd", "chunk_tokens": 64}}, {}, {}),
        ("next-token", {}, {"cache": {"top_k": 8}}, {}),
        ("none", {**NO_ANSWERS, "relation": {"cosine": 1}}, CACHE, {}),
        ("class", {}, CACHE, {"augment": {"crop": 2, "variants": 4}}),
        ("class", {"attention": {"maps": 1}}, {"bits": 8}, {"augment": {"mask_tokens": 0.1}}),
        ("class", {}, BOTH, {"augment": {"mask_tokens": 0.1}}),
        ("class-set", {}, {"models": ["baseline"]}, {}),
    ],
)
def test_what_goes_together(target, losses, teacher, training):
    assert found(target, losses, teacher, training) == []


@pytest.mark.parametrize(
    ("target", "losses", "teacher", "training", "key", "word"),
    [
        ("token-class", {}, BOTH, {}, "teacher.models", "token-class"),
        ("class", {"relation": {"cosine": 1}}, BOTH, {}, "teacher.models", "relation.cosine"),
        ("class", {"response": None}, BOTH, {}, "teacher.models", "nothing is learned"),
        ("class", {}, BOTH, {"augment": {"flip": True}}, "teacher.models", "as they are"),
        ("class", {}, {"models": BOTH, "cache": {"top_k": 2}}, {}, "teacher.cache.top_k", "whole"),
        ("class", {}, {"models": ["baseline"], "bits": 8}, {}, "teacher.models", "reference"),
        ("none", {}, {}, {}, "losses.response", "neither labels nor answers"),
        ("class", {"response": {"divergence": "jsd"}}, {}, {}, "losses.response.divergence", "jsd"),
        ("class", {"response": {"chunk_tokens": 9}}, {}, {}, "losses.response.chunk_tokens", "9"),
        (
            "token-class",
            {"response": {"decoupled": {}}},
            {},
            {},
            "losses.response.decoupled",
            "one",
        ),
        (
            "class-set",
            {"response": {"logit_standardization": True}},
            {},
            {},
            "losses.response.logit_standardization",
            "sigmoid",
        ),
        (
            "next-token",
            {"response": {"divergence": "jsd", "logit_standardization": True}},
            {},
            {},
            "losses.response",
            "one variant",
        ),
        ("next-token", {"relation": {"cosine": 1}}, {}, {}, "losses.relation.layers", "output"),
        (
            "class",
            {"response": {"decoupled": {}}},
            {},
            {"augment": {"mixup": 0.2}},
            "losses.response.decoupled",
            "mixes",
        ),
        ("class", {"response": None}, CACHE, {}, "teacher.cache", "nothing is learned"),
        ("class", {}, CACHE, {"augment": {"flip": True}}, "teacher.cache", "variants"),
        ("class", {}, CACHE, {"augment": {"mixup": 0.2}}, "teacher.cache", "variants"),
        ("class", {"attention": {"maps": 1}}, CACHE, {}, "teacher.cache", "attention weights"),
        ("next-token", {"response": {"chunk_tokens": 9}}, CACHE, {}, "teacher.cache", "head"),
        (
            "class",
            {"response": {"decoupled": {}}},
            {"cache": {"top_k": 2}},
            {},
            "teacher.cache.top_k",
            "every logit",
        ),
        ("class-set", {}, {"cache": {"top_k": 2}}, {}, "teacher.cache.top_k", "sigmoid"),
        (
            "class",
            {"relation": {"cosine": 1}},
            {"cache": {"top_k": 2}},
            {},
            "teacher.cache.top_k",
            "output",
        ),
    ],
)
def test_what_does_not_go_together(target, losses, teacher, training, key, word):
    problem = dict(found(target, losses, teacher, training))
    assert word in problem[key]


def test_from_python_the_first_problem_is_raised():
    with pytest.raises(StageError, match=r"losses\.response: must be null here"):
        require_fit(Losses(), target="none", teacher=TeacherSpec(), training=TrainingOptions())
