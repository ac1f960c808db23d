"""A static student: its table, its training, and a whole run with its bundle."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import compress
from compress.core.context import Context
from compress.distillation.learn import learn
from compress.distillation.options import Losses
from compress.distillation.students.static_spec import StaticSpec
from compress.distillation.students.static_table import (
    principal_components,
    sif_weights,
    static_student,
    token_counts,
)
from compress.distillation.teacher_spec import TeacherSpec
from compress.errors import RecipeError, StageError
from compress.models.static_embeddings import StaticSource
from compress.recipe.load import recipe_from_dict
from compress.runner.inputs import load_inputs
from compress.stages.distill import Distill
from compress.stages.vocabulary import Vocabulary
from compress.tasks.pooling import mean_pool
from compress.training.options import TrainingOptions
from tests.stages.texts import save_tokenizer

BERT = {
    "model_type": "bert",
    "vocab_size": 450,
    "initializer_range": 0.2,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}
STUDENT = {"static": {"dimensions": 24}}
LOSSES = {"response": None, "labels": None, "embedding": {}}
TRAINING = {"epochs": 3, "batch_size": 16, "learning_rate": 3e-2}
DISTILL = {"student": STUDENT, "losses": LOSSES, "training": TRAINING}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    torch.set_num_threads(1)
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def recipe(tokenizer, *stages):
    return recipe_from_dict(
        {
            "version": 1,
            "name": "small",
            "model": {"config": BERT},
            "task": "feature-extraction",
            "data": {
                "python": "tests.stages.texts:coloured",
                "tokenizer": tokenizer,
                "max_length": 16,
                "columns": {"label": None},
            },
            "measure": {"batch_sizes": [1], "rounds": 5, "warmup": 1, "seconds": 0.01},
            "stages": [*stages, {"use": "export"}],
        }
    )


@pytest.fixture(scope="module")
def inputs(tokenizer):
    return load_inputs(recipe(tokenizer))


def problem(inputs, directory, **changes):
    directory.mkdir(exist_ok=True)
    context = Context(
        inputs.original, inputs.task, inputs.data, directory, shared=directory / "shared"
    )
    return inputs.original, replace(context, **changes)


def distill(inputs, directory, **changes):
    artifact, context = problem(inputs, directory)
    return Distill.model_validate(DISTILL | changes).apply(artifact, context)


def test_components_are_those_of_a_singular_value_decomposition():
    vectors = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).double()
    found = principal_components(vectors, count=4)
    _, values, axes = np.linalg.svd((vectors - vectors.mean(0)).numpy(), full_matrices=False)
    for ours, theirs in zip(found.axes.T.numpy(), axes, strict=False):
        np.testing.assert_allclose(abs(ours @ theirs), 1, rtol=1e-10)
        assert ours[np.abs(ours).argmax()] > 0
    assert found.share == pytest.approx((values[:4] ** 2).sum() / (values**2).sum())


def test_weights_fall_with_the_share_of_a_token():
    weights = sif_weights(torch.tensor([0, 1, 999]), a=1e-3)
    assert weights.tolist() == pytest.approx([1, 0.5, 1e-3 / (1e-3 + 0.999)])


def test_a_row_is_the_teachers_embedding_of_one_token(inputs, tmp_path):
    artifact, context = problem(inputs, tmp_path)
    spec = StaticSpec(pca=False)
    made = static_student(spec, artifact, context)
    tokenizer, table = artifact.preprocessor.tokenizer, made.student.module.table.weight
    assert made.student.source == StaticSource(len(tokenizer), 32)
    token, counts = 200, token_counts(artifact, context, tokens=len(tokenizer))
    ids = torch.tensor([[tokenizer.cls_token_id, token, tokenizer.sep_token_id]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        alone = mean_pool(context.task.logits(artifact.module, batch), batch["attention_mask"])
    weight = sif_weights(counts, a=spec.sif)[token]
    torch.testing.assert_close(table[token], alone[0] * weight, rtol=1e-4, atol=1e-5)
    used = [i for row in artifact.preprocessor.encode(["the car is red"]) for i in row["input_ids"]]
    assert (counts[used] > 0).all()
    assert counts[tokenizer.cls_token_id] == inputs.data.size("train")


def test_components_turn_teacher_and_table_alike(inputs, tmp_path):
    artifact, context = problem(inputs, tmp_path)
    plain = static_student(StaticSpec(pca=False, weighting="none"), artifact, context)
    turned = static_student(StaticSpec(dimensions=24, weighting="none"), artifact, context)
    rows = plain.student.module.table.weight.detach()
    torch.testing.assert_close(plain.projection, torch.eye(32))
    torch.testing.assert_close(
        (rows - rows.mean(0)) @ turned.projection,
        turned.student.module.table.weight.detach(),
        rtol=1e-4,
        atol=1e-4,
    )


def test_training_brings_embeddings_to_the_teachers_and_is_deterministic(inputs, tmp_path):
    made = [distill(inputs, tmp_path / name) for name in ("one", "two")]
    tables = [one.module.table.weight for one in made]
    assert torch.equal(*tables)
    artifact, context = problem(inputs, tmp_path / "start")
    start, projection = static_student(StaticSpec(dimensions=24), artifact, context)
    before, after = (
        cosine_to_teacher(module, artifact, context, projection)
        for module in (start.module, made[0].module)
    )
    assert after > before + 0.05
    assert [note for note in made[0].notes if "24 of 32 principal components" in note]


def cosine_to_teacher(module, artifact, context, projection):
    found = []
    for batch in context.data.loader("test", artifact.preprocessor, batch_size=8):
        with torch.no_grad():
            ours, theirs = (
                mean_pool(context.task.logits(one, batch), batch["attention_mask"])
                for one in (module, artifact.module)
            )
        found.append(torch.cosine_similarity(ours, theirs @ projection))
    return float(torch.cat(found).mean())


def test_tokens_are_dropped_before_and_after(inputs, tmp_path):
    artifact, context = problem(inputs, tmp_path / "a")
    first = Vocabulary().apply(artifact, context)
    before = Distill.model_validate(DISTILL).apply(first, problem(inputs, tmp_path / "b")[1])
    after = Vocabulary().apply(distill(inputs, tmp_path / "c"), problem(inputs, tmp_path / "d")[1])
    assert before.source == after.source
    assert after.source.tokens == len(first.preprocessor.tokenizer) < 420


def test_a_first_token_teacher_is_refused(inputs, tmp_path):
    artifact, context = problem(inputs, tmp_path, task=replace(inputs.task, pooling="cls"))
    with pytest.raises(StageError, match="by the pooling cls"):
        Distill.model_validate(DISTILL).dry_run(artifact, context)


def test_a_student_of_another_width_needs_a_map(inputs, tmp_path):
    artifact, context = problem(inputs, tmp_path)
    student = static_student(StaticSpec(dimensions=8), artifact, context).student
    with pytest.raises(StageError, match=r"as wide as the teacher's 32.*Got 8"):
        learn(
            student.module,
            losses=Losses.model_validate(LOSSES),
            teacher=TeacherSpec(),
            artifact=artifact,
            context=context,
            training=TrainingOptions(epochs=1),
            description="distill",
        )


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"student": {"static": {"dimensions": 33}}}, "at most the teacher's 32"),
        ({"student": {"static": {"dimensions": 8, "pca": False}}}, "null without 'pca'"),
        ({"student": {"static": {}, "layers": 1}}, "one of"),
        ({"teacher": {"cache": {"top_k": 4}}}, "must be null with 'losses.embedding'"),
    ],
)
def test_a_recipe_that_cant_work_is_refused(stage, words, tokenizer):
    with pytest.raises(RecipeError, match=words):
        recipe(tokenizer, {"use": "distill", **DISTILL, **stage})


def test_a_run_is_small_and_resumes(tokenizer, tmp_path):
    chosen = recipe(
        tokenizer,
        {"use": "distill", **DISTILL, "teacher": {"cache": {}}},
        {"use": "quantize", "method": "storage"},
    )
    done = compress.run(chosen, output=tmp_path / "run", threads=1)
    original, student, stored, final = done.stages
    assert student.params == 420 * 24 < original.params
    assert stored.size_bytes < 0.5 * student.size_bytes
    assert final.quality.value == pytest.approx(student.quality.value, abs=0.01)
    files = [tmp_path / "run" / name for name in ("model.onnx", "stages/01-distill/stage.json")]
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    compress.run(chosen, output=tmp_path / "run", threads=1)
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files][1] == before[1]
    assert files[0].read_bytes() == before[0][0]
