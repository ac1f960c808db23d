"""The vocabulary stage alone, before other stages, and in whole runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import compress
from compress.core.batch import model_inputs
from compress.core.context import Context
from compress.errors import StageError
from compress.measurement.session import run, session
from compress.models.source import PythonSource
from compress.recipe.load import recipe_from_dict
from compress.runner.inputs import load_inputs, seed_everything
from compress.stages.distill import Distill
from compress.stages.vocabulary import Vocabulary
from compress.testing import check_stage
from tests.stages.texts import save_tokenizer

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}
BERT = {"model_type": "bert", "vocab_size": 450, "num_labels": 4, "initializer_range": 0.2, **SIZES}
LLAMA = {"model_type": "llama", "vocab_size": 450, "num_key_value_heads": 1, **SIZES}
GPT2 = {"model_type": "gpt2", "vocab_size": 450, "n_embd": 32, "n_head": 2, "n_positions": 24}
TRAINING = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tokenizers")
    return {
        "text-classification": save_tokenizer(folder / "classes"),
        "text-generation": save_tokenizer(folder / "generation", generates=True),
    }


def recipe(folders, *, task="text-classification", model=None, layers=2, stages=()):
    model = model or (BERT if task == "text-classification" else LLAMA)
    return recipe_from_dict(
        {
            "version": 1,
            "name": "small",
            "model": {"config": model | {"num_hidden_layers": layers}},
            "task": task,
            "data": {
                "python": "tests.stages.texts:coloured",
                "tokenizer": folders[task],
                "max_length": 16,
            },
            "measure": {"batch_sizes": [1], "rounds": 5, "warmup": 1, "seconds": 0.01},
            "stages": [*stages, {"use": "export"}],
        }
    )


def problem(folders, directory, *, task="text-classification", layers=2):
    inputs = load_inputs(recipe(folders, task=task, layers=layers))
    directory.mkdir(exist_ok=True)
    context = Context(
        inputs.original, inputs.task, inputs.data, directory, shared=directory / "shared"
    )
    return inputs.original, context


def answers(artifact, context, *, split="test", onnx=None):
    loader = context.data.loader(split, artifact.require_preprocessor(), batch_size=8)
    runtime = None if onnx is None else session(onnx, threads=1)
    found = []
    for batch in loader:
        if runtime is not None:
            found.append(next(iter(run(runtime, batch).values())))
            continue
        with torch.no_grad():
            found.append(context.task.logits(artifact.require_module(), model_inputs(batch)))
    return np.concatenate([np.asarray(one) for one in found])


def parameters(artifact):
    return sum(one.numel() for one in artifact.require_module().parameters())


@pytest.mark.parametrize("split", ["train", "validation", "test", "calibration"])
def test_every_row_is_answered_as_before(split, folders, tmp_path):
    original, context = problem(folders, tmp_path)
    made = Vocabulary().apply(original, context)
    assert parameters(made) < parameters(original)
    assert np.array_equal(
        answers(made, context, split=split), answers(original, context, split=split)
    )
    kept, pieces, same = made.notes
    assert kept.startswith(f"kept {len(made.preprocessor.tokenizer):,} of 450 tokens")
    assert kept.endswith(f"{parameters(original):,} -> {parameters(made):,}")
    assert pieces == "the same pieces on all 140 texts (train 96, validation 20, test 24)"
    assert same.startswith("the same answers on 20 validation samples")
    assert made.source.config["vocab_size"] == len(made.preprocessor.tokenizer)


def test_scores_of_generation_run_over_the_kept_tokens(folders, tmp_path):
    original, context = problem(folders, tmp_path, task="text-generation")
    made = Vocabulary().apply(original, context)
    kept = list(made.preprocessor.original_ids)
    before, after = answers(original, context), answers(made, context)
    np.testing.assert_allclose(after, before[..., kept], atol=1e-4)
    assert "among the kept tokens only" in made.notes[-1]


def test_it_keeps_the_contract(folders, tmp_path):
    original, context = problem(folders, tmp_path / "problem")
    check_stage(Vocabulary(), directory=tmp_path / "stage", artifact=original, context=context)


def test_nothing_to_drop_is_said(folders, tmp_path):
    original, context = problem(folders, tmp_path)
    once = Vocabulary().apply(original, context)
    twice = Vocabulary().apply(once, context)
    assert twice.notes[0].startswith("nothing to drop")
    assert twice.preprocessor is once.preprocessor
    assert np.array_equal(answers(twice, context), answers(once, context))


def test_extra_texts_keep_more(folders, tmp_path):
    original, context = problem(folders, tmp_path)
    extra = {"python": "tests.stages.texts:made_up", "columns": {"label": None}}
    few = Vocabulary().apply(original, context)
    more = Vocabulary.model_validate({"extra": extra}).apply(original, context)
    assert len(few.preprocessor.original_ids) < len(more.preprocessor.original_ids)
    assert "extra train 48" in more.notes[1]


def test_a_student_learns_the_same_with_a_smaller_vocabulary(folders, tmp_path):
    """Dropped rows of the embeddings are never read: the teacher and the training are the same."""
    original, context = problem(folders, tmp_path)
    distill = Distill.model_validate(
        {"student": {"layers": 1}, "training": TRAINING | {"weight_decay": 0.0}}
    )
    learned = []
    for given in (original, Vocabulary().apply(original, context)):
        seed_everything(0)
        learned.append(distill.apply(given, context))
    before, after = (answers(one, context) for one in learned)
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert not np.allclose(before, answers(original, context), atol=1e-2)


def test_a_students_teacher_is_cached_anew(folders, tmp_path):
    original, context = problem(folders, tmp_path)
    distill = Distill.model_validate(
        {"student": {"layers": 1}, "teacher": {"cache": {}}, "training": TRAINING}
    )
    caches, made = [], Vocabulary().apply(original, context)
    for given in (original, made, made):
        learned = distill.apply(given, context)
        [cache] = [one for one in (context.shared / "teacher").iterdir() if one.is_dir()]
        caches.append(cache.name)
    assert caches[0] != caches[1] == caches[2]
    assert any("taken from disk" in note for note in learned.notes)


def test_generation_is_taught_over_the_kept_tokens(folders, tmp_path):
    original, context = problem(folders, tmp_path, task="text-generation")
    made = Vocabulary().apply(original, context)
    losses = {"response": {"weight": 1.0}, "labels": None}
    distill = Distill.model_validate(
        {"losses": losses, "training": TRAINING | {"optimizer": "sgd"}}
    )
    learned = distill.apply(made, context)
    # The student is its own teacher over the same tokens: there is nothing to learn.
    np.testing.assert_allclose(answers(learned, context), answers(made, context), atol=1e-4)


def test_what_is_refused(folders, tmp_path):
    original, context = problem(folders, tmp_path)
    own = replace(original, module=torch.nn.Linear(2, 2), source=PythonSource("a:b"))
    with pytest.raises(StageError, match="needs a transformers model"):
        Vocabulary().apply(own, context)
    with pytest.raises(StageError, match="goes with data that a recipe names"):
        Vocabulary().apply(original, replace(context, data=object()))
    assert Vocabulary.tasks is not None
    assert "image-classification" not in Vocabulary.tasks
    stage = Vocabulary.model_validate(
        {"extra": {"huggingface": "csv", "files": {"train": "no.csv"}}}
    )
    spec = recipe(folders)
    [(key, said)] = stage.check(task=spec.task, model=spec.model, data=spec.data)
    assert key.startswith("extra.")
    assert "no.csv" in said
    assert [path.name for path in stage.input_files()] == ["no.csv"]


def test_a_model_that_would_answer_otherwise_is_found_out(folders, tmp_path, monkeypatch):
    original, context = problem(folders, tmp_path)
    from compress.models.transformers import vocabulary

    def wrong(module, source, *, kept):
        return right(module, source, kept=kept[::-1])

    right = vocabulary.keep_tokens
    monkeypatch.setattr(vocabulary, "keep_tokens", wrong)
    monkeypatch.setattr(vocabulary, "reserved_ids", lambda module: set())
    with pytest.raises(StageError, match="answers otherwise"):
        Vocabulary().apply(original, context)


def _require_the_same_answers(stage, folders):
    """The stage's file answers as the whole model did."""
    original, context = problem(folders, stage.parents[2] / "problem", layers=1)
    made = Vocabulary().apply(original, context)
    [onnx] = stage.glob("*.onnx")
    before, after = answers(original, context), answers(made, context, onnx=onnx)
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert (after.argmax(1) == before.argmax(1)).all()


TRIALS = {"samples": 16, "rounds": 5, "seconds": 0.01, "batch_sizes": [1, 2]}
QUANTIZATION = {"evaluation": TRIALS, "calibration": {"samples": 8}, "budget": 0.9}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "model"), [("text-classification", BERT), ("text-generation", GPT2)]
)
def test_a_whole_run_and_its_resumption(task, model, folders, tmp_path):
    stages = [
        {"use": "vocabulary"},
        {"use": "quantize", "method": "static", **QUANTIZATION},
    ]
    values = recipe(folders, task=task, model=model, layers=1, stages=stages)
    run_folder = tmp_path / "run"
    report = compress.run(values, output=run_folder, threads=1)
    original, trimmed, *_, exported = report.stages
    assert trimmed.params < original.params
    assert trimmed.macs <= original.macs
    if task == "text-classification":
        assert trimmed.quality.value == original.quality.value
        _require_the_same_answers(run_folder / "stages" / "01-vocabulary", folders)
    else:
        assert trimmed.quality.value < original.quality.value
    assert any("against the reference" in note for note in exported.notes)
    again = compress.run(values, output=run_folder, threads=1)
    assert [row.seconds for row in again.stages] == [row.seconds for row in report.stages]

    from tokenizers import Tokenizer

    bundled = Tokenizer.from_file(str(run_folder / "tokenizer.json"))
    ids = bundled.encode("the velostdar is 東京 🙂").ids
    known = session(run_folder / "model.onnx", threads=1)
    assert {value.name for value in known.get_inputs()} >= {"input_ids"}
    assert max(ids) < bundled.get_vocab_size() < 420
    assert (run_folder / "original_ids.json").is_file()
