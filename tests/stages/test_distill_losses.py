"""The stage with a teacher's insides, its cache, low bits and unlabeled data; recipes that fail."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification
from transformers.modeling_outputs import ImageClassifierOutput

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.distillation.eager import implementation
from compress.errors import RecipeError
from compress.models.source import PythonSource, TransformersSource
from compress.recipe.load import recipe_from_dict
from compress.stages.distill import Distill
from compress.stages.prune.stage import Prune
from compress.stages.train import Train
from tests.stages.digits import TASK, accuracy, digits, preprocessor

LABELS = tuple("0123456789")
RESNET = "compress.models.resnet:resnet"
SMALL = {"python": RESNET, "arguments": {"blocks": [1, 1], "width": 4}}
TRAINING = {"epochs": 2, "batch_size": 64, "learning_rate": 1e-2}
PAIR = [{"student": "stages.1", "teacher": "stages.1"}]
EVERYTHING = {
    "response": {"temperature": 2.0},
    "labels": {},
    "feature": {"layers": PAIR},
    "relation": {"cosine": 1.0, "angle": 1.0},
    "attention": {"transfer": 1.0, "layers": PAIR},
}


def problem(folder, *, artifact):
    torch.set_num_threads(1)
    return Context(artifact, TASK, digits(), folder, shared=folder / "shared")


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory):
    source = PythonSource(RESNET, {"blocks": [1, 1], "width": 8})
    torch.manual_seed(0)
    untrained = Artifact(
        Format.TORCH, source.build(), source, preprocessor=preprocessor(), labels=LABELS
    )
    stage = Train.model_validate({"training": TRAINING | {"epochs": 1}})
    return stage.apply(untrained, problem(tmp_path_factory.mktemp("cnn"), artifact=untrained))


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=8,
        patch_size=2,
        num_channels=1,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    module = ViTForImageClassification(config).eval()
    source = TransformersSource.of(module)
    untrained = Artifact(Format.TORCH, module, source, preprocessor=preprocessor(), labels=LABELS)
    stage = Train.model_validate({"training": TRAINING | {"epochs": 1, "learning_rate": 3e-3}})
    return stage.apply(untrained, problem(tmp_path_factory.mktemp("vit"), artifact=untrained))


def history(folder):
    return json.loads((folder / "training.json").read_text())["epochs"]


def test_all_losses_are_logged_on_their_own_and_leave_nothing_behind(convolutional, tmp_path):
    stage = Distill.model_validate({"student": SMALL, "losses": EVERYTHING, "training": TRAINING})
    context = problem(tmp_path, artifact=convolutional)
    student = stage.apply(convolutional, context)
    expected = {
        "response", "labels", "feature", "relation.cosine", "relation.angle", "attention.transfer",
    }  # fmt: skip
    assert [set(epoch["losses"]) for epoch in history(tmp_path)] == [expected, expected]
    assert all(value > 0 for value in history(tmp_path)[0]["losses"].values())
    assert set(student.module.state_dict()) == set(student.source.build().state_dict())
    assert not any(part._forward_hooks for part in student.module.modules())
    assert any("projected from 8 to 16" in note for note in student.notes)
    first, last = (sum(epoch["losses"].values()) for epoch in history(tmp_path))
    assert last < first


def test_cached_answers_teach_as_live_ones_and_serve_the_next_stage(convolutional, tmp_path):
    fields = {"student": SMALL, "losses": EVERYTHING, "training": TRAINING}
    made = []
    for name, teacher in (("live", {}), ("cached", {"cache": {}})):
        (tmp_path / name).mkdir()
        context = replace(
            problem(tmp_path / name, artifact=convolutional), shared=tmp_path / "shared"
        )
        stage = Distill.model_validate({**fields, "teacher": teacher})
        made.append((stage.apply(convolutional, context), history(tmp_path / name)))
    (live, live_epochs), (cached, cached_epochs) = made
    for ours, theirs in zip(live_epochs, cached_epochs, strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-3)
    assert any("bytes on disk; computed" in note for note in cached.notes)
    assert any("cached against live teacher" in note for note in cached.notes)
    assert accuracy(live.module) == pytest.approx(accuracy(cached.module), abs=0.03)

    prune = Prune.model_validate(
        {
            "target": {"macs": 0.5},
            "round_to": 1,
            "recovery": {"teacher": {"cache": {}}, "losses": EVERYTHING, "training": TRAINING},
        }
    )
    (tmp_path / "prune").mkdir()
    pruned = prune.apply(
        cached,
        replace(
            problem(tmp_path / "prune", artifact=convolutional),
            shared=tmp_path / "shared",
            reference=convolutional,
        ),
    )
    assert any("taken from disk" in note for note in pruned.notes)


def test_variants_of_samples_are_cached_too(convolutional, tmp_path):
    training = TRAINING | {"augment": {"crop": 1, "variants": 2}}
    stage = Distill.model_validate(
        {"student": SMALL, "teacher": {"cache": {"top_k": 3}}, "training": training}
    )
    student = stage.apply(convolutional, problem(tmp_path, artifact=convolutional))
    assert any("samples in 2 variants" in note for note in student.notes)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_teacher_in_few_bits_teaches(transformer, tmp_path, bits):
    stage = Distill.model_validate(
        {"student": {"layers": 1}, "teacher": {"bits": bits}, "training": TRAINING}
    )
    student = stage.apply(transformer, problem(tmp_path, artifact=transformer))
    assert any(f"held in {bits} bits" in note for note in student.notes)
    assert all(p.dtype is torch.float32 for p in transformer.module.parameters())


def test_attention_maps_switch_to_eager_and_back(transformer, tmp_path):
    stage = Distill.model_validate(
        {
            "student": {"layers": 2},
            "losses": {"attention": {"maps": 1.0, "queries_keys": 1.0, "layers": "uniform"}},
            "training": TRAINING,
        }
    )
    before = implementation(transformer.module)
    student = stage.apply(transformer, problem(tmp_path, artifact=transformer))
    assert before == "sdpa"
    assert implementation(student.module) == implementation(transformer.module) == before
    assert any("eager" in note for note in student.notes)
    assert "attention.maps" in history(tmp_path)[0]["losses"]


class Small(nn.Module):
    """Answers as transformers' models do; there is little in it to compile."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(8 * 16, 10)

    def forward(self, pixel_values):
        return ImageClassifierOutput(logits=self.head(self.body(pixel_values).flatten(1)))


@pytest.mark.slow
def test_a_compiled_student_learns_the_same(convolutional, tmp_path):
    """With a loss that reads its insides."""
    student = {"python": f"{__name__}:Small"}
    losses = {"feature": {"layers": [{"student": "body", "teacher": "stages.1"}]}}
    once = TRAINING | {"epochs": 1, "batch_size": 479}  # a third: another size compiles anew
    found = []
    for compiled in (False, True):
        folder = tmp_path / str(compiled)
        folder.mkdir()
        training = once | {"compile": compiled}
        stage = Distill.model_validate({"student": student, "losses": losses, "training": training})
        stage.apply(convolutional, problem(folder, artifact=convolutional))
        found.append(history(folder)[0]["losses"])
    assert found[0].keys() == {"response", "labels", "feature"}
    assert found[1] == pytest.approx(found[0], rel=0.05)


def more_digits():
    """Half of the digits without their labels."""
    from sklearn.datasets import load_digits

    images = np.rint(load_digits().images[:500] * (255 / 16)).astype(np.uint8)
    return {"train": [{"image": image} for image in images]}


def test_unlabeled_samples_teach_through_the_teacher(convolutional, tmp_path):
    extra = {"python": f"{__name__}:more_digits", "columns": {"label": None}}
    sizes = []
    for name, unlabeled in (("without", None), ("with", extra)):
        folder = tmp_path / name
        folder.mkdir()
        stage = Distill.model_validate(
            {
                "student": SMALL,
                "teacher": {"cache": {}},
                "unlabeled": unlabeled,
                "training": TRAINING | {"epochs": 1},
            }
        )
        student = stage.apply(convolutional, problem(folder, artifact=convolutional))
        [note] = [note for note in student.notes if "bytes on disk" in note]
        sizes.append(int(note.split(" for ")[1].split(" samples")[0].replace(",", "")))
    assert sizes[1] == sizes[0] + 500


def recipe(*stages, **head):
    return {
        "version": 1,
        "name": "lesson",
        "model": {"python": RESNET},
        "task": "image-classification",
        "data": {"sklearn": "digits"},
        "stages": list(stages),
        **head,
    }


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            {"use": "distill", "losses": {"response": {"divergence": "jsd"}}},
            r"stages\[0\] \(distill\): .*divergence.*forward but for generation",
        ),
        (
            {"use": "distill", "teacher": {"cache": {}}, "training": {"augment": {"flip": True}}},
            r"teacher\.cache.*variants",
        ),
        (
            {"use": "prune", "target": {"macs": 0.5}, "recovery": {
                "teacher": {"cache": {"top_k": 2}}, "losses": {"relation": {"cosine": 1.0}},
            }},
            r"stages\[0\] \(prune\): .*recovery\.teacher\.cache\.top_k.*output",
        ),
        (
            {"use": "train", "training": {"augment": {"mask_tokens": 0.1}}},
            r"stages\[0\] \(train\): .*training\.augment.*for texts",
        ),
        ({"use": "distill", "student": {"layers": 2}}, r"student\.layers.*transformers"),
    ],
)  # fmt: skip
def test_a_recipe_says_before_any_work_what_does_not_go_together(stage, message):
    with pytest.raises(RecipeError) as caught:
        recipe_from_dict(recipe(stage))
    [problem] = caught.value.problems
    assert re.search(message, problem)


def test_without_labels_their_weight_must_be_zero():
    data = {"sklearn": "digits", "columns": {"label": None}}
    with pytest.raises(RecipeError) as caught:
        recipe_from_dict(recipe({"use": "distill"}, data=data))
    [problem] = caught.value.problems
    assert re.search(r"losses\.labels\.weight.*must be 0.*has no labels", problem)
    recipe_from_dict(recipe({"use": "distill", "losses": {"labels": None}}, data=data))


def test_a_teacher_that_nothing_is_learned_from_is_not_asked(convolutional, tmp_path):
    asked = []
    module = convolutional.module
    hook = module.register_forward_hook(lambda *_: asked.append(1))
    try:
        stage = Distill.model_validate(
            {"student": SMALL, "losses": {"response": None}, "training": TRAINING}
        )
        stage.apply(convolutional, problem(tmp_path, artifact=convolutional))
    finally:
        hook.remove()
    assert len(asked) < 5  # to compare shapes; there are dozens of batches
