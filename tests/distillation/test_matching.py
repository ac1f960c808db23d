import pytest
from torch import nn

from compress.core.batch import model_inputs
from compress.distillation.matching import Match, match
from compress.distillation.options import Feature
from compress.distillation.students.layers import keep_layers
from compress.errors import StageError
from compress.models.source import TransformersSource
from compress.pruning.options import CutOptions, Target
from compress.pruning.prune import prune
from compress.tasks.task import task
from tests.distillation.models import bert, gpt2, llama, texts

LAYER = "bert.encoder.layer."


def pairs(layers):
    return Feature.model_validate({"layers": layers}).layers


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [(3, 6, [1, 3, 5]), (2, 4, [1, 3]), (4, 4, [0, 1, 2, 3]), (1, 5, [4]), (3, 4, [0, 1, 3])],
)
def test_uniform_spreads_over_the_teacher_and_ends_with_its_last(ours, theirs, expected):
    found = match(
        "uniform", student=bert(layers=ours, width=16), teacher=bert(layers=theirs, width=16)
    )
    assert found == tuple(
        Match(f"{LAYER}{place}", f"{LAYER}{layer}") for place, layer in enumerate(expected)
    )


def test_last_matches_the_last_layers():
    found = match("last", student=bert(layers=2, width=16), teacher=bert(layers=4, width=16))
    assert found == (Match(f"{LAYER}1", f"{LAYER}3"),)


@pytest.mark.parametrize(("make", "path"), [(gpt2, "transformer.h.1"), (llama, "model.layers.1")])
def test_decoders_have_layers_too(make, path):
    assert match("last", student=make(), teacher=make()) == (Match(path, path),)


def test_pairs_go_by_number_or_path():
    given = [
        {"student": 0, "teacher": 2},
        {"student": "bert.embeddings", "teacher": "bert.embeddings", "weight": 0.5},
    ]
    found = match(pairs(given), student=bert(layers=2), teacher=bert(layers=4))
    assert found == (
        Match(f"{LAYER}0", f"{LAYER}2"),
        Match("bert.embeddings", "bert.embeddings", 0.5),
    )


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"student": 2, "teacher": 0}], r"student's layers are numbered from 0 to 1\. Got 2"),
        (
            [{"student": "bert.encodr", "teacher": 0}],
            r"unknown module of the student 'bert.encodr'\..* mean 'bert.encoder'",
        ),
    ],
)
def test_what_is_not_there_is_named(layers, message):
    with pytest.raises(StageError, match=message):
        match(pairs(layers), student=bert(layers=2), teacher=bert(layers=4))


def test_a_deeper_student_cannot_be_spread():
    with pytest.raises(StageError, match="the teacher has only 2 layers"):
        match("uniform", student=bert(layers=4), teacher=bert(layers=2))


def test_plain_modules_need_paths():
    plain = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(StageError, match="name modules by their path"):
        match("last", student=plain, teacher=plain)
    assert match(pairs([{"student": "0", "teacher": "0"}]), student=plain, teacher=plain)


def test_a_student_that_was_pruned_and_shortened_is_matched():
    teacher = bert(layers=4)
    pruned = prune(
        teacher,
        CutOptions(
            target=Target(macs=0.7), units=("feed_forward", "heads"), scope="global", round_to=1
        ),
        example_inputs=model_inputs(texts()),
        task=task("text-classification"),
    )
    source = TransformersSource.of(pruned.module)
    shorter = keep_layers(pruned.module, source, layers=2)
    for student in (pruned.module, shorter.module):
        found = match("uniform", student=student, teacher=teacher)
        assert found[-1].teacher == f"{LAYER}3"
        assert len(found) == student.config.num_hidden_layers
